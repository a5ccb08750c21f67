"""Functions in indexes and statistics, which the planner calls before a query has begun: none gets the archiver's rights at a source."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from archiver.capture.postgres.baseline import copy_tables
from archiver.capture.postgres.baseline.large_rows import tables_with_large_rows
from archiver.capture.postgres.catalog.catalog import read_catalog
from archiver.capture.postgres.catalog.scope import Scope
from archiver.capture.postgres.catalog.sequences import read_sequence_values
from archiver.capture.postgres.session.access import Access
from archiver.postgres.records import Table
from tests.integration.capture.postgres.test_baseline import Sink, taken
from tests.integration.replay.postgres.arrange import ask, run

_FUNCTION = """CREATE FUNCTION {0}.f(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
    IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN RAISE 'with all rights'; END IF; RETURN 1; END $$;"""
_WAYS = {
    "predicate": "CREATE INDEX ON {0}.t (v) WHERE {0}.f(1) = 1",
    "expression": "CREATE INDEX ON {0}.t ((v + {0}.f(1)))",
    "statistics": "CREATE STATISTICS {0}.s ON (v + {0}.f(1)) FROM {0}.t",
    "operator": """CREATE OPERATOR {0}.@@@ (FUNCTION = {0}.f, RIGHTARG = int); CREATE INDEX ON {0}.t ((v + (OPERATOR({0}.@@@) 1)))""",
}


@pytest.mark.parametrize("way", _WAYS)
async def test_a_copy_plans_nothing_of_others(database: str, mallory: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that would be copied in ranges, or measured for large rows, is copied in one piece; `check` says that it was not measured."""
    run(database, f"SET ROLE {mallory}; {_FUNCTION.format(mallory)} CREATE TABLE {mallory}.t (id int PRIMARY KEY, v int, x text)")
    run(database, f"SET ROLE {mallory}; ALTER TABLE {mallory}.t ALTER x SET STORAGE EXTERNAL")
    run(database, f"SET ROLE {mallory}; INSERT INTO {mallory}.t SELECT n, n, repeat('x', 9000) FROM generate_series(1, 1000) n")
    run(database, f"SET ROLE {mallory}; {_WAYS[way].format(mallory)}")
    original = copy_tables._ranges
    monkeypatch.setattr(
        copy_tables,
        "_ranges",
        lambda session, tables, limits: original(session, tables, replace(limits, range_bytes=16384, largest_row_bytes=1 << 20)),
    )
    baseline = await taken(database, Sink())
    assert [sum(part.rows for part in table.parts) for table in baseline.tables] == [1000]
    async with await Access.of(database).connect() as session:
        async with session.transaction():
            tables = (await read_catalog(session, Scope())).catalog.tables
        assert await tables_with_large_rows(session, tables, 1 << 20, 10) == ({}, [f"{mallory}.t"])


async def test_a_row_that_is_too_large_in_such_a_table(database: str, mallory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could not be looked for. It is not received either: the table has the gap, and the others are copied."""
    run(database, f"SET ROLE {mallory}; {_FUNCTION.format(mallory)} CREATE TABLE {mallory}.t (id int PRIMARY KEY, v int, x text)")
    run(database, f"SET ROLE {mallory}; {_WAYS['predicate'].format(mallory)}")
    run(database, f"SET ROLE {mallory}; INSERT INTO {mallory}.t SELECT n, n, repeat('x', n * 150000000) FROM generate_series(0, 1) n")
    run(database, "CREATE TABLE public.z (id int PRIMARY KEY); INSERT INTO public.z VALUES (1)")
    original = copy_tables._ranges
    monkeypatch.setattr(
        copy_tables, "_ranges", lambda session, tables, limits: original(session, tables, replace(limits, largest_row_bytes=1 << 20))
    )
    made: list[copy_tables.CopyResult] = []
    copied = copy_tables.copy_tables

    async def noted(*values: Any, **more: Any) -> copy_tables.CopyResult:
        more["limits"] = replace(more["limits"], largest_row_bytes=1 << 20, jobs=1)
        made.append(await copied(*values, **more))
        return made[-1]

    monkeypatch.setattr("archiver.capture.postgres.baseline.baseline.copy_tables", noted)
    await taken(database, Sink())
    assert {table.name: sum(part.rows for part in table.parts) for table in made[0].tables} == {"t": 0, "z": 1}
    assert list(made[0].too_large.values()) == [1]


async def test_an_index_that_comes_during_the_copy(database: str, mallory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is left to be copied later."""
    run(database, f"SET ROLE {mallory}; {_FUNCTION.format(mallory)} CREATE TABLE {mallory}.t (id int PRIMARY KEY, v int)")
    run(database, f"SET ROLE {mallory}; INSERT INTO {mallory}.t SELECT n, n FROM generate_series(1, 10000) n")
    looked, original = copy_tables._same_file, copy_tables._ranges

    async def then_indexed(session: psycopg.AsyncConnection, table: Table) -> bool:
        same = await looked(session, table)
        if ask(database, f"SELECT count(*) FROM pg_index WHERE indrelid = {table.oid}") == 1:
            run(database, f"SET ROLE {mallory}; {_WAYS['predicate'].format(mallory)}")
        return same

    monkeypatch.setattr(copy_tables, "_same_file", then_indexed)
    monkeypatch.setattr(
        copy_tables, "_ranges", lambda session, tables, limits: original(session, tables, replace(limits, range_bytes=16384))
    )
    baseline = await taken(database, Sink())
    assert baseline.tables == []


async def test_a_table_in_the_place_of_a_sequence(database: str, mallory: str) -> None:
    """Its schema is renamed while the reading waits for a lock on it, and another one has the name then."""
    run(database, f"GRANT CREATE ON DATABASE {database.rsplit('/', 1)[1]} TO {mallory}")
    run(database, f"SET ROLE {mallory}; {_FUNCTION.format(mallory)} CREATE SEQUENCE {mallory}.s; ALTER SEQUENCE {mallory}.s RESTART WITH 7")
    run(database, f"SET ROLE {mallory}; CREATE SCHEMA {mallory}_b; CREATE TABLE {mallory}_b.s (last_value int8, is_called bool)")
    run(database, f"SET ROLE {mallory}; CREATE INDEX ON {mallory}_b.s (last_value) WHERE {mallory}.f(1) = 1")
    run(database, f"ALTER FUNCTION {mallory}.f(int) SET SCHEMA {mallory}_b")
    async with await Access.of(database).connect() as session:
        with psycopg.connect(database) as attack:
            attack.execute(f"SET ROLE {mallory}; ALTER SEQUENCE {mallory}.s MAXVALUE 1000".encode())
            attack.execute(f"ALTER SCHEMA {mallory} RENAME TO {mallory}_c; ALTER SCHEMA {mallory}_b RENAME TO {mallory}".encode())
            reading = asyncio.create_task(read_sequence_values(session, Scope()))
            await asyncio.sleep(0.12)
        values = await reading
    # Where the server tells it by oid nothing is read anew.
    assert [(value.schema, value.name) for value in values] in ([(f"{mallory}_c", "s")], [(mallory, "s")])
    assert [value.next_value for value in values] == [7]
