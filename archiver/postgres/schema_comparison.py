"""Whether two schema entries say the same. Pure.

A fingerprint changes with every catalog row that a dump may depend on. So it changes too where the schema does not: an index that is built
beside the work and cannot be used yet, one that was built anew, packed catalogs, a fingerprint of another version of ours.
"""

from __future__ import annotations

import msgspec

from archiver.errors import Corrupt, Refused
from archiver.postgres.announcements import TRIGGERS
from archiver.postgres.dump_toc import TocEntry, read_toc
from archiver.postgres.records import Schema

OURS = frozenset(f"{about}{name}".encode() for name in TRIGGERS for about in ("", "EVENT TRIGGER "))
"""Tags of dump entries that are about our own event triggers: they do not belong to the database's state."""
_RIGHTS = frozenset({b"ACL", b"DEFAULT ACL"})
"""Kinds of dump entries that are about rights alone."""


def same_schema(one: Schema, other: Schema) -> bool:
    """Whether nothing changed between the two, by their fingerprints; where one has none, by what replay reads of their catalogs."""
    if one.fingerprint and other.fingerprint:
        return one.fingerprint == other.fingerprint
    return _essence(one) == _essence(other)


def same_but_rights(one: tuple[Schema, bytes], other: tuple[Schema, bytes]) -> bool:
    """Whether both, each an entry and its dump, differ at most in what GRANT, REVOKE and ALTER DEFAULT PRIVILEGES change; true where
    this program cannot read the dumps, and what it knows beside them is the same.
    """
    without = [(msgspec.structs.replace(each, catalog=msgspec.structs.replace(each.catalog, roles=[]))) for each, _ in (one, other)]
    if _essence(without[0]) != _essence(without[1]):
        return False
    try:
        return _objects(one[1], without=_RIGHTS) == _objects(other[1], without=_RIGHTS)
    except Refused:
        # Dumps of a newer format: nobody can tell, and a change of rights, which anybody may make, is enough to come here.
        return True
    except Corrupt:
        return False


def same_content(one: tuple[Schema, bytes], other: tuple[Schema, bytes]) -> bool:
    """Whether a restore makes the same of both, each an entry and its dump. Dumps that this program cannot read are different."""
    if same_schema(one[0], other[0]):
        return True
    if _essence(one[0]) != _essence(other[0]):
        return False
    try:
        return _objects(one[1]) == _objects(other[1])
    except (Corrupt, Refused):
        return False


def _essence(schema: Schema) -> object:
    tables = [
        (table.oid, table.schema, table.name, table.kind, table.persistence, table.identity, table.columns, table.key, table.parent)
        for table in schema.catalog.tables
    ]
    catalog = schema.catalog
    return tables, catalog.roles, catalog.extensions, catalog.installed, catalog.materialized, catalog.types, catalog.publications


def _objects(dump: bytes, *, without: frozenset[bytes] = frozenset()) -> list[tuple[bytes, ...]]:
    return sorted(_told(entry) for entry in read_toc(dump) if entry.tag not in OURS and entry.kind not in without)


def _told(entry: TocEntry) -> tuple[bytes, ...]:
    """What an entry says of its object. Its number, and those of others, differ from dump to dump."""
    return entry.kind, entry.schema, entry.tag, entry.owner, entry.create, entry.drop, entry.access_method, entry.relation_kind
