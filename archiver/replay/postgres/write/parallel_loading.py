"""Rows and indexes over several connections, each table and each index in a transaction of its own: for a database that was empty.

What does not succeed at once is left to whoever has one connection and more ways to try.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TYPE_CHECKING, TypeVar

import psycopg

from archiver.errors import ArchiverError, Invalid, Partial, Refused
from archiver.postgres.connecting import allow_views
from archiver.replay.postgres.write.target_database import connected, explained, pin

if TYPE_CHECKING:
    from archiver.postgres.records import Table
    from archiver.replay.postgres.write.dump_items import Item, Items
    from archiver.replay.postgres.write.row_writer import RowWriter
    from archiver.replay.postgres.write.schema_writer import SchemaWriter
    from archiver.replay.postgres.write.target_database import Connection

Unit = TypeVar("Unit")
Writer = TypeVar("Writer")

_BY_TABLE = frozenset({"CONSTRAINT", "INDEX"})
"""Kinds that need nothing but one table and its rows."""

# Members of extensions do not count: some are made beforehand by whoever may.
_FIRST_OBJECT = """
SELECT pg_describe_object(o.class, o.object, 0) FROM (
    SELECT 'pg_class'::regclass::oid, oid, relnamespace FROM pg_class
    UNION ALL SELECT 'pg_proc'::regclass, oid, pronamespace FROM pg_proc
    UNION ALL SELECT 'pg_type'::regclass, oid, typnamespace FROM pg_type
) o (class, object, space) JOIN pg_namespace n ON n.oid = o.space
 WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = o.class AND e.objid = o.object AND e.deptype IN ('e', 'i'))
 LIMIT 1
"""


async def refuse_occupied(connection: Connection) -> None:
    """Raise ``Refused`` unless the database is empty: only then is it known what is there when a restore ends half way."""
    row = await (await connection.execute(_FIRST_OBJECT.encode())).fetchone()
    if row is not None:
        raise Refused(
            f"--jobs loads in separate transactions, so only into an empty database; the target has {row[0]}",
            hint="make a new database, or leave out --jobs: then it is one transaction",
        )


def partly_done(error: ArchiverError, tables: int) -> ArchiverError:
    """``error``, and what is there of the restore: ``Partial`` for what means that nothing was touched."""
    kind = Partial if isinstance(error, Invalid | Refused) else type(error)
    return kind(
        f"{error.message}; --jobs loads in separate transactions: the target has the schema and the rows of {tables} tables",
        hint="drop the database and make it anew, then try again: functions that keys and checks of domains call may be SECURITY DEFINER"
        " there",
    )


class ParallelLoading:
    """``jobs`` connections to ``dsn``. ``rows`` and ``schema`` make the writers of one connection."""

    def __init__(self, dsn: str, jobs: int, rows: Callable[[Connection], RowWriter], schema: Callable[[Connection], SchemaWriter]) -> None:
        self._dsn, self._jobs, self._rows, self._schema = dsn, jobs, rows, schema

    async def write_rows(self, tables: Sequence[Table], sizes: dict[int, int], written: set[int]) -> None:
        """Write the largest first; ``written`` gets the oids of those that are there. ``sizes``: by oid. Raises as ``RowWriter.write``."""

        async def write(writer: RowWriter, table: Table) -> None:
            if await writer.write_alone(table, tables):
                written.add(table.oid)

        await self._share(sorted(tables, key=lambda table: -sizes.get(table.oid, 0)), self._rows, write)

    async def build(self, items: Items, filled: Collection[tuple[str, str]]) -> list[Item]:
        """Build indexes of ``filled`` tables (schema and name); what remains of ``items.post``, in its order."""
        tables = {item.number: (item.schema, item.tag) in filled for item in items.pre if item.kind == "TABLE"}
        ready = [
            item
            for item in items.post
            if item.kind in _BY_TABLE and (needed := [tables[number] for number in item.needs if number in tables]) and all(needed)
        ]
        made: set[int] = set()

        async def build(writer: SchemaWriter, item: Item) -> None:
            if await writer.make_alone(item):
                made.add(item.number)

        await self._share(ready, self._schema, build)
        return [item for item in items.post if item.number not in made]

    async def _share(
        self, units: Sequence[Unit], writer: Callable[[Connection], Writer], do: Callable[[Writer, Unit], Awaitable[None]]
    ) -> None:
        waiting = deque(units)

        async def work() -> None:
            async with connected(self._dsn) as connection:
                await pin(connection)
                await allow_views(connection)
                one = writer(connection)
                while waiting:
                    await do(one, waiting.popleft())

        tasks = [asyncio.create_task(work()) for _ in range(min(self._jobs, len(units)))]
        try:
            await asyncio.gather(*tasks)
        except psycopg.Error as error:
            raise explained(error, "loading in parallel") from error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
