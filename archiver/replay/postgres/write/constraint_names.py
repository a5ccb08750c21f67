"""Names that the server gives to NOT NULL constraints, where a dump does not name them (18 and newer).

A dump leaves out the name that the server would choose: the table's and the column's. But the server takes another one where any table of
the schema has a constraint of that name, as a partition has that was made before its table, or a table that was renamed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import psycopg

from archiver.replay.postgres.write.dump_items import Item

if TYPE_CHECKING:
    from archiver.replay.postgres.write.target_database import Connection

_SINCE = 180000
_CHOSEN = """
SELECT wanted.place, convert_to(quote_ident(n.nspname) || '.' || quote_ident(c.relname), %s), convert_to(quote_ident(k.conname), %s),
       convert_to(quote_ident(x.usual), %s)
  FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS wanted (schema, name, place)
  JOIN pg_namespace n ON n.nspname = wanted.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
  JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'n' AND k.conislocal
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.conkey[1]
 CROSS JOIN LATERAL (SELECT c.relname || '_' || a.attname || '_not_null') x (usual)
 WHERE octet_length(x.usual) < 64 AND k.conname <> x.usual AND k.conname ~ '[0-9]$' AND starts_with(k.conname, x.usual)
 ORDER BY wanted.place, k.conname
"""


async def name_as_usual(connection: Connection, made: Sequence[Item], encoding: str) -> list[str]:
    """Rename what the server called otherwise in tables that were just made, partitions not yet attached; what stays so, for people.

    ``encoding``: what their SQL is written in, by the server's name. Raises ``psycopg.Error`` for a connection that is lost.
    """
    tables = [item for item in made if item.kind == "TABLE" and _is_text(item)]
    if not tables or connection.info.server_version < _SINCE:
        return []
    names = [table.schema for table in tables], [table.tag for table in tables]
    cursor = await connection.execute(_CHOSEN.encode(), (encoding, encoding, encoding, *names))
    kept = []
    for place, table, name, usual in await cursor.fetchall():
        item = tables[place - 1]
        if b"CONSTRAINT " + name + b" NOT NULL" in item.sql:
            continue
        try:
            async with connection.transaction():
                await connection.execute(b"ALTER TABLE " + table + b" RENAME CONSTRAINT " + name + b" TO " + usual)
        except psycopg.ProgrammingError:
            kept.append(f"{item.name}: constraint {usual.decode(errors='replace')} is called {name.decode(errors='replace')}")
    return kept


def _is_text(item: Item) -> bool:
    try:
        f"{item.schema}{item.tag}".encode()
    except UnicodeEncodeError:
        return False
    return True
