"""What a target holds already of what a restore makes: found in its catalog, named and quoted by the server, and dropped by that name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from archiver.errors import Refused
from archiver.postgres.calling_code import SIGNATURE
from archiver.replay.postgres.write.dump_items import Item

if TYPE_CHECKING:
    from archiver.replay.postgres.write.target_database import Connection

_RELATIONS = frozenset({"FOREIGN TABLE", "INDEX", "MATERIALIZED VIEW", "SEQUENCE", "TABLE", "VIEW"})
_TYPES = frozenset({"DOMAIN", "TYPE", *_RELATIONS}) - {"INDEX"}
"""Every relation but an index has a type of its name, and a composite type is a relation."""
_ROUTINES = frozenset({"AGGREGATE", "FUNCTION", "PROCEDURE"})
_IN_SCHEMAS = {
    "COLLATION": ("pg_collation", "collname", "collnamespace"),
    "CONVERSION": ("pg_conversion", "conname", "connamespace"),
    "STATISTICS": ("pg_statistic_ext", "stxname", "stxnamespace"),
    "TEXT SEARCH CONFIGURATION": ("pg_ts_config", "cfgname", "cfgnamespace"),
    "TEXT SEARCH DICTIONARY": ("pg_ts_dict", "dictname", "dictnamespace"),
    "TEXT SEARCH PARSER": ("pg_ts_parser", "prsname", "prsnamespace"),
    "TEXT SEARCH TEMPLATE": ("pg_ts_template", "tmplname", "tmplnamespace"),
}
_GLOBAL = {
    "ACCESS METHOD": ("pg_am", "amname"),
    "EVENT TRIGGER": ("pg_event_trigger", "evtname"),
    "FOREIGN DATA WRAPPER": ("pg_foreign_data_wrapper", "fdwname"),
    "PUBLICATION": ("pg_publication", "pubname"),
    "SERVER": ("pg_foreign_server", "srvname"),
}
_SPELLED = {
    "CAST": "pg_cast",
    "OPERATOR": "pg_operator",
    "OPERATOR CLASS": "pg_opclass",
    "OPERATOR FAMILY": "pg_opfamily",
    "TRANSFORM": "pg_transform",
}
"""Kinds whose name does not say which one it is: their identities are compared, blanks aside."""

_WANTED = "unnest(%(schemas)s::text[], %(names)s::text[]) WITH ORDINALITY AS wanted (schema, name, place)"

_FIND_RELATIONS = f"""
SELECT wanted.place, 'pg_class'::regclass::oid, c.oid,
       CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE'
                      WHEN 'i' THEN 'INDEX' WHEN 'I' THEN 'INDEX' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END
  FROM {_WANTED}
  JOIN pg_namespace n ON n.nspname = wanted.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
"""
# Types of relations are found as relations; those of arrays and multiranges give way to a new type of their name, or go with theirs.
_FIND_TYPES = f"""
SELECT wanted.place, 'pg_type'::regclass::oid, t.oid, CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END
  FROM {_WANTED}
  JOIN pg_namespace n ON n.nspname = wanted.schema JOIN pg_type t ON t.typnamespace = n.oid AND t.typname = wanted.name
 WHERE t.typrelid = 0 AND t.typtype <> 'm' AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
"""
_FIND_ROUTINES = f"""
SELECT wanted.place, 'pg_proc'::regclass::oid, p.oid, CASE p.prokind WHEN 'a' THEN 'AGGREGATE' WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END
  FROM {_WANTED}
  JOIN pg_namespace n ON n.nspname = wanted.schema JOIN pg_proc p ON p.pronamespace = n.oid
 WHERE wanted.name = {SIGNATURE}
"""

# What belongs to something else that is found goes with it: an index with its table, a sequence with its column.
_IDENTITIES = """
SELECT found.place, i.identity
  FROM unnest(%(classes)s::oid[], %(objects)s::oid[]) WITH ORDINALITY AS found (class, object, place)
  CROSS JOIN LATERAL pg_identify_object(found.class, found.object, 0) i
 WHERE NOT EXISTS (SELECT FROM pg_depend d JOIN unnest(%(classes)s::oid[], %(objects)s::oid[]) AS whole (class, object)
                     ON d.refclassid = whole.class AND d.refobjid = whole.object
                   WHERE d.classid = found.class AND d.objid = found.object AND d.deptype IN ('a', 'i'))
 ORDER BY found.place
"""

_PARTS = """
WITH RECURSIVE part (class, object) AS (
    SELECT * FROM unnest(%(classes)s::oid[], %(objects)s::oid[])
    UNION
    SELECT d.classid, d.objid FROM part JOIN pg_depend d ON d.refclassid = part.class AND d.refobjid = part.object
     WHERE d.deptype IN ('a', 'i', 'P', 'S')
)
SELECT DISTINCT pg_describe_object(d.classid, d.objid, 0)
  FROM part JOIN pg_depend d ON d.refclassid = part.class AND d.refobjid = part.object
 WHERE d.deptype = 'n' AND NOT EXISTS (SELECT FROM part other WHERE other.class = d.classid AND other.object = d.objid)
 ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class BlockingObject:
    """One object of the target."""

    kind: str
    identity: str
    """As the server writes it, quoted."""
    catalog: int
    oid: int

    def __str__(self) -> str:
        return f"{self.kind} {self.identity}"


async def find_blocking(connection: Connection, items: Sequence[Item]) -> list[BlockingObject]:
    """Every object of the target whose name one of ``items`` needs, in their order. Sessions have ``OWN_PATH``."""
    found: dict[tuple[int, int], tuple[int, str]] = {}
    for query, kinds in ((_FIND_RELATIONS, _RELATIONS | _TYPES), (_FIND_TYPES, _TYPES), (_FIND_ROUTINES, _ROUTINES)):
        await _find(connection, query, [(n, item) for n, item in enumerate(items) if item.kind in kinds], found)
    for kind, (catalog, name, schema) in _IN_SCHEMAS.items():
        query = (
            f"SELECT wanted.place, '{catalog}'::regclass::oid, o.oid, '{kind}' FROM {_WANTED}"
            f" JOIN pg_namespace n ON n.nspname = wanted.schema JOIN {catalog} o ON o.{schema} = n.oid AND o.{name} = wanted.name"
        )
        await _find(connection, query, [(n, item) for n, item in enumerate(items) if item.kind == kind], found)
    for kind, (catalog, name) in _GLOBAL.items():
        query = (
            f"SELECT wanted.place, '{catalog}'::regclass::oid, o.oid, '{kind}' FROM {_WANTED} JOIN {catalog} o ON o.{name} = wanted.name"
        )
        await _find(connection, query, [(n, item) for n, item in enumerate(items) if item.kind == kind], found)
    for kind, catalog in _SPELLED.items():
        query = (
            f"SELECT wanted.place, '{catalog}'::regclass::oid, o.oid, '{kind}' FROM {_WANTED} JOIN {catalog} o"
            " ON replace((pg_identify_object(tableoid, o.oid, 0)).identity, ' ', '') = replace(wanted.name, ' ', '') WHERE o.oid >= 16384"
        )
        await _find(connection, query, [(n, item) for n, item in enumerate(items) if item.kind == kind], found, spelled=True)
    ordered = sorted(found.items(), key=lambda each: each[1][0])
    both = {"classes": [key[0] for key, _ in ordered], "objects": [key[1] for key, _ in ordered]}
    cursor = await connection.execute(_IDENTITIES.encode(), both)
    return [BlockingObject(ordered[n - 1][1][1], identity, *ordered[n - 1][0]) for n, identity in await cursor.fetchall()]


async def _find(
    connection: Connection,
    query: str,
    wanted: list[tuple[int, Item]],
    found: dict[tuple[int, int], tuple[int, str]],
    *,
    spelled: bool = False,
) -> None:
    wanted = [(place, item) for place, item in wanted if _is_text(item)]
    if not wanted:
        return
    schemas = [item.schema for _, item in wanted]
    names = [item.reference if spelled else item.tag for _, item in wanted]
    cursor = await connection.execute(query.encode(), {"schemas": schemas, "names": names})
    for place, catalog, oid, kind in await cursor.fetchall():
        found.setdefault((catalog, oid), (wanted[place - 1][0], kind))


def _is_text(item: Item) -> bool:
    """A name of bytes that are no text cannot be looked up; nothing but a server without an encoding has one."""
    try:
        f"{item.schema}{item.tag}{item.reference}".encode()
    except UnicodeEncodeError:
        return False
    return True


async def drop_blocking(connection: Connection, blocking: Sequence[BlockingObject]) -> None:
    """Drop them, and nothing else. Inside a transaction.

    Raises ``Refused`` when something else depends on one of them, and what ``psycopg`` raises for anything but that.
    """
    left = list(reversed(blocking))
    while left:
        rest = [each for each in left if not await _dropped(connection, each)]
        if len(rest) < len(left):
            left = rest
            continue
        # They hold each other: a type and the functions that read and write it.
        cursor = await connection.execute(
            _PARTS.encode(), {"classes": [each.catalog for each in left], "objects": [each.oid for each in left]}
        )
        others = [str(name) for (name,) in await cursor.fetchall()]
        if others:
            raise Refused(
                f"{left[0]} cannot be replaced, other objects of the target depend on it: {', '.join(others[:3])}",
                hint="nothing was changed; drop what depends on it, or restore into another database",
            )
        for each in left:
            await connection.execute(f"{_drop(each)} CASCADE".encode())
        return


def _drop(blocking: BlockingObject) -> str:
    kind = "ROUTINE" if blocking.kind in _ROUTINES else blocking.kind
    return f"DROP {kind} IF EXISTS {blocking.identity}"


async def _dropped(connection: Connection, blocking: BlockingObject) -> bool:
    await connection.execute(b"SAVEPOINT dropping")
    try:
        await connection.execute(_drop(blocking).encode())
    except psycopg.errors.DependentObjectsStillExist:
        await connection.execute(b"ROLLBACK TO dropping")
        return False
    await connection.execute(b"RELEASE dropping")
    return True
