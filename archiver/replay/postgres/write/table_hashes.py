"""What the tables of a database hold, as numbers: rows, and a hash of all of them in an order that does not depend on the server.

The hash is SHA-256 over COPY text of all columns, newlines included. Rows stand in the order of their bytes (collation C): by the
text of the primary key where there is one, and of the whole row. The same rows give the same hash on every server.

Code that came with the tables runs as ``reading_only`` has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec
import psycopg
from psycopg import sql

from archiver.replay.postgres.write.reading_only import make_function, make_reader
from archiver.replay.postgres.write.target_database import Connection, connected, explained, pin


class TableHash(msgspec.Struct, frozen=True):
    """One table."""

    schema: str
    name: str
    rows: int = 0
    bytes: int = 0
    """Of COPY text."""
    sha256: str = ""
    """Empty: its rows could not be read, see ``fault``."""
    fault: str = ""


class HashedDatabase(msgspec.Struct, frozen=True):
    """Tables of one database, as of one snapshot."""

    server_version: str
    tables: list[TableHash]


async def hash_tables(dsn: str, tables: Iterable[tuple[str, str]]) -> HashedDatabase:
    """Hash each of ``tables`` (schema and name) by itself, without what inherits from it. Raises as ``explained`` has it."""
    async with connected(dsn) as connection:
        await pin(connection)
        found = []
        try:
            async with connection.transaction(force_rollback=True):
                await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                reader = await make_reader(connection)
                # Whoever does not see all rows is told so.
                await connection.execute("SELECT pg_catalog.set_config('row_security', 'off', true)")
                for schema, name in sorted(tables):
                    try:
                        # What the code of one table has set is not there for the next.
                        async with connection.transaction(force_rollback=True):
                            found.append(await _hash(connection, schema, name, reader))
                    except psycopg.errors.InsufficientPrivilege:
                        found.append(TableHash(schema, name, fault="a policy or a right keeps the scratch role from its rows"))
        except psycopg.Error as error:
            raise explained(error, "hashing restored tables", rows=True) from error
        return HashedDatabase(connection.info.parameter_status("server_version") or "", found)


_COLUMNS = """
SELECT a.attname, COALESCE(a.attnum OPERATOR(pg_catalog.=) ANY (i.indkey::pg_catalog.int2[]), false)
FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_index i ON i.indrelid OPERATOR(pg_catalog.=) a.attrelid AND i.indisprimary
WHERE a.attrelid OPERATOR(pg_catalog.=) %s::pg_catalog.regclass AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
_TEXT = "pg_catalog.format('%s', {})"
"""By the output function of the type, whatever casts there are."""
_VALUE = f"CASE WHEN pg_catalog.num_nulls({{}}) OPERATOR(pg_catalog.=) 0 THEN {_TEXT} END"
_ORDER = f'{_TEXT} COLLATE pg_catalog."C"'


async def _hash(connection: Connection, schema: str, name: str, reader: str) -> TableHash:
    table = sql.Identifier(schema, name)
    columns = await (await connection.execute(_COLUMNS, (table.as_string(None),))).fetchall()
    named = [sql.Identifier("t", column) for column, _ in columns]
    values = sql.SQL(", ").join([sql.SQL(_VALUE).format(each, each) for each in named])
    keys: list[sql.Composable] = [sql.Identifier("t", column) for column, is_key in columns if is_key]
    order = sql.SQL(", ").join([sql.SQL(_ORDER).format(each) for each in keys or [sql.SQL("t.*")]])
    query = sql.SQL("SELECT ARRAY[{}]::pg_catalog.text[] FROM ONLY {} t ORDER BY {}").format(values, table, order)
    await make_function(connection, "archiver_rows", sql.SQL("SETOF pg_catalog.text[] LANGUAGE sql"), query.as_string(connection), reader)
    # COPY of the texts is COPY of the values. In a list of columns the rows are handed on one by one.
    texts = sql.SQL(", ").join([sql.SQL("r.v[{}]").format(number) for number in range(1, len(columns) + 1)])
    copied = sql.SQL("COPY (SELECT {} FROM (SELECT pg_temp.archiver_rows() AS v) r) TO STDOUT").format(texts)
    digest, rows, size = hashlib.sha256(), 0, 0
    async with connection.cursor() as cursor, cursor.copy(copied) as copy:
        async for block in copy:
            digest.update(block)
            rows += bytes(block).count(b"\n")
            size += len(block)
    return TableHash(schema, name, rows, size, digest.hexdigest())
