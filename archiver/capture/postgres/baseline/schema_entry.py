"""The schema under one held snapshot, as a PG_SCHEMA entry keeps it."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import psycopg

from archiver.capture.postgres.catalog.catalog import ObservedCatalog, read_catalog
from archiver.capture.postgres.catalog.fingerprint import read_fingerprint
from archiver.capture.postgres.catalog.own_objects import OWN_SCHEMAS
from archiver.capture.postgres.catalog.scope import Scope
from archiver.capture.postgres.session.access import Access, Session, restricts_views, translated
from archiver.capture.postgres.session.dump_selection import DumpSelection, covering
from archiver.capture.postgres.session.schema_dump import PgTools, dump_schema
from archiver.capture.postgres.session.snapshot import HeldSnapshot
from archiver.journal.entry import Kind, Run
from archiver.postgres.records import Schema


@dataclass(frozen=True)
class SchemaEntry:
    """A schema and its dump."""

    schema: Schema
    dump: bytes
    observed: ObservedCatalog

    def run(self, source: str, observed: int) -> Run:
        """The PG_SCHEMA run."""
        return Run.of(source, Kind.PG_SCHEMA, [msgspec.json.encode(self.schema), self.dump], observed=observed)


async def take_schema(held: HeldSnapshot, access: Access, tools: PgTools, scope: Scope, *, cause: str) -> SchemaEntry:
    """Catalog and dump under ``held``; ``catalog.pending`` is left empty.

    pg_dump reads some definitions as of now, not as of the snapshot. So when ``read_fingerprint`` gives afterwards, outside of the
    snapshot, the same as ``schema.fingerprint``, the dump is exact; else DDL came in between and the schema must be taken once more.
    Raises ``Unavailable``, ``Refused``.
    """
    async with held.reading() as session:
        fingerprint = await read_fingerprint(session)
        observed = await read_catalog(session, scope)
        selection = await _selection(session, scope, observed.catalog.extensions)
        restricted = await restricts_views(session)
    dump = await dump_schema(tools, access, selection, snapshot=held.name, restricted=restricted)
    schema = Schema(
        held.lsn, held.visible, held.taken, cause, session.info.server_version, tools.banner, observed.catalog, fingerprint=fingerprint
    )
    return SchemaEntry(schema, dump, observed)


async def _selection(session: Session, scope: Scope, extensions: list[str]) -> DumpSelection:
    """What is captured, without tables that pg_dump may not lock: it fails on those."""
    try:
        cursor = await session.execute("SELECT nspname, has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname !~ '^pg_'")
        spaces = await cursor.fetchall()
        cursor = await session.execute(f"SELECT nspname FROM pg_namespace WHERE oid IN ({OWN_SCHEMAS})".encode())
        own = await cursor.fetchall()
        # What pg_dump's patterns of tables match. Sequences of tables that are left out may be left out or not.
        cursor = await session.execute(
            "SELECT n.nspname, c.relname, c.relkind IN ('r', 'p') AND NOT has_table_privilege(c.oid, 'SELECT')"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'p', 'S', 'v', 'm', 'f') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'"
            " AND n.nspname <> 'information_schema' AND NOT EXISTS (SELECT FROM pg_depend d WHERE c.relkind = 'S'"
            " AND d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')"
            " AND d.refclassid = 'pg_class'::regclass AND NOT has_table_privilege(d.refobjid, 'SELECT'))"
        )
        relations = [(schema, name, unreadable) for schema, name, unreadable in await cursor.fetchall() if scope.covers_schema(schema)]
    except psycopg.Error as error:
        raise translated(error, "reading the catalog") from error
    return DumpSelection(
        scope.schemas,
        extensions if scope.schemas else (),
        [name for name, usable in spaces if (name,) in own or (not usable and not scope.covers_schema(name))],
        covering(
            ((schema, name) for schema, name, unreadable in relations if unreadable),
            ((schema, name) for schema, name, unreadable in relations if not unreadable),
        ),
    )
