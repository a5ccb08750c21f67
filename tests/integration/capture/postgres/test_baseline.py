"""The baseline at real servers: exactly what the snapshot sees, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest

from archiver.capture.postgres.baseline.baseline import Baseline, take_baseline
from archiver.capture.postgres.baseline.copy_tables import CopyLimits, copy_tables
from archiver.capture.postgres.baseline.schema_entry import take_schema
from archiver.capture.postgres.catalog.catalog import read_catalog
from archiver.capture.postgres.catalog.scope import Scope
from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.session.access import Access
from archiver.capture.postgres.session.snapshot import hold_snapshot
from archiver.errors import Unavailable
from archiver.postgres.client_programs import find_tools
from archiver.store.memory import MemoryStore
from tests.integration.capture.postgres.recorded import names, rows_of

TYPES = """
CREATE TABLE everything (
    "Id" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, f float8, n numeric, b bytea, t text, j jsonb, a text[], i interval,
    ts timestamptz, d date, r int4range, u uuid, money money, c "char", p point, dropped int, g int GENERATED ALWAYS AS (7) STORED, cls regclass
)
"""
ROW = """
INSERT INTO everything (f, n, b, t, j, a, i, ts, d, r, u, money, c, p, cls)
SELECT 0.1::float8 + 0.2, 'NaN', '\\xdeadbeef', E'tab\\tline\\nback\\\\slash\\r' || g, '{"k": [1, null]}', ARRAY['a,b', NULL, '"', '{}'],
       '1 year 2 days -3 hours', '2024-02-29 23:59:59.999999+13', '0044-03-15 BC', '[1,5)', '00000000-0000-0000-0000-000000000001',
       '12.34', 'x', '(1.5,-2)', 'everything'::regclass
  FROM generate_series(1, 50) g
"""


class Sink:
    """Keeps parts; ``open`` holds them up."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.open = asyncio.Event()
        self.open.set()
        self.waiting = asyncio.Event()

    async def put_part(self, key: str, data: bytes) -> None:
        self.waiting.set()
        await self.open.wait()
        assert self.store.create(key, data)


def run(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as session:
        for statement in statements:
            session.execute(statement.encode())


def copy_out(dsn: str, command: str) -> bytes:
    """What the server itself writes, under settings that give every value one text."""
    options = "-c datestyle=ISO -c bytea_output=hex -c timezone=UTC -c intervalstyle=postgres -c extra_float_digits=3 -c search_path="
    with psycopg.connect(dsn, options=options) as session, session.cursor().copy(command.encode()) as copy:
        return b"".join(bytes(block) for block in copy)


async def taken(dsn: str, sink: Sink, *, during: str = "", **options: Any) -> Baseline:
    """A baseline; ``during`` is run between its snapshot and its copies."""
    access = Access.of(dsn)
    config = PostgresConfig(dsn=dsn, slot="unused", **options)
    async with hold_snapshot(access) as held:
        if during:
            run(dsn, during)
        tools = find_tools(held.connection.info.server_version)
        return await take_baseline(held, access, config, tools, sink, source="db", identity=uuid.uuid4().hex)


async def test_rows_are_what_copy_writes_under_pinned_settings(database: str) -> None:
    """Values of all kinds, whatever the database's own settings say; generated and dropped columns are left out."""
    dbname = database.rsplit("/", 1)[1]
    run(
        database,
        TYPES,
        ROW,
        "ALTER TABLE everything DROP COLUMN dropped",
        f"ALTER DATABASE {dbname} SET extra_float_digits = 0",
        f"ALTER DATABASE {dbname} SET datestyle = 'German'",
        f"ALTER DATABASE {dbname} SET intervalstyle = 'iso_8601'",
        f"ALTER DATABASE {dbname} SET bytea_output = 'escape'",
        f"ALTER DATABASE {dbname} SET timezone = 'Asia/Tokyo'",
        "CREATE TABLE empty (id int PRIMARY KEY)",
        "CREATE TABLE columnless ()",
        "INSERT INTO columnless DEFAULT VALUES",
    )
    sink = Sink()
    baseline = await taken(database, sink)
    tables = {table.name: table for table in baseline.tables}
    carried = tables["everything"].columns
    assert (carried[0], "g" in carried, "dropped" in carried) == ("Id", False, False)
    quoted = ", ".join(f'"{name}"' for name in carried)
    text = rows_of(sink.store, tables["everything"])
    assert text == copy_out(database, f"COPY public.everything ({quoted}) TO STDOUT")
    assert b"0.30000000000000004\tNaN\t\\\\xdeadbeef" in text
    assert tables["empty"].parts == []
    assert sum(part.rows for part in tables["columnless"].parts) == 1
    assert baseline.schema.catalog.pending == []
    assert baseline.dump.startswith(b"PGDMP")


async def test_large_tables_are_shared_by_ranges_and_cut_into_parts(database: str) -> None:
    """Many ranges, many parts, several workers: together they hold every row once, in the table's order; parts end at row ends."""
    run(
        database,
        "CREATE TABLE big (id int PRIMARY KEY, v text)",
        "INSERT INTO big SELECT g, repeat(md5(g::text), 8) FROM generate_series(1, 20000) g",
        "DELETE FROM big WHERE id % 7 = 0",
    )
    access, sink = Access.of(database), Sink()
    async with hold_snapshot(access) as held:
        observed = await read_catalog(held.connection, Scope())
        run(database, "UPDATE big SET v = 'later'", "INSERT INTO big SELECT g, 'new' FROM generate_series(30000, 31000) g")
        limits = CopyLimits(jobs=3, part_bytes=65536, compression_level=1, range_bytes=512 * 1024)
        copied = await copy_tables(held, access, observed.catalog.tables, sink, source="db", identity="one", limits=limits)
    [table] = copied.tables
    lines = rows_of(sink.store, table).splitlines()
    assert [int(line.split(b"\t")[0]) for line in lines] == [n for n in range(1, 20001) if n % 7]
    assert len(table.parts) > 10
    assert b"later" not in rows_of(sink.store, table)


@pytest.mark.parametrize(
    "ddl",
    [
        "TRUNCATE t",
        "DROP TABLE t",
        "ALTER TABLE t ALTER COLUMN v TYPE text USING v || '!'",
        "ALTER TABLE t DROP COLUMN v",
        "ALTER TABLE t RENAME COLUMN v TO w",
        "ALTER TABLE t RENAME TO u; CREATE TABLE t (id int, v text)",
    ],
    ids=["truncate", "drop", "rewrite", "drop-column", "rename-column", "swap"],
)
async def test_a_table_that_ddl_made_unreadable_is_named_and_never_copied_wrong(database: str, ddl: str) -> None:
    """After DDL an older snapshot sees a table empty or not at all: such a table is pending; the others are there."""
    run(
        database,
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        "INSERT INTO t VALUES (1, 'a')",
        "CREATE TABLE other (id int PRIMARY KEY)",
        "INSERT INTO other VALUES (1)",
    )
    access, sink = Access.of(database), Sink()
    async with hold_snapshot(access) as held:
        observed = await read_catalog(held.connection, Scope())
        run(database, ddl)
        limits = CopyLimits(jobs=2, part_bytes=65536, compression_level=1)
        copied = await copy_tables(held, access, observed.catalog.tables, sink, source="db", identity="one", limits=limits)
    assert names(copied.tables) == ["other"]
    assert copied.missed == [table.oid for table in observed.catalog.tables if table.name == "t"]


async def test_a_pending_table_is_named_in_the_schema(database: str) -> None:
    """A baseline with a table that was truncated after its snapshot says so in the entry that restores read."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    baseline = await taken(database, Sink(), during="TRUNCATE t")
    assert baseline.schema.catalog.pending == [baseline.schema.catalog.tables[0].oid]
    assert baseline.tables == []


async def test_the_schema_knows_what_a_restore_needs(database: str) -> None:
    """Roles, extensions, populated materialized views in order, sequences with owners, partitions with parents, excluded tables."""
    run(
        database,
        "CREATE TABLE t (id serial PRIMARY KEY)",
        "INSERT INTO t DEFAULT VALUES",
        "CREATE MATERIALIZED VIEW first AS SELECT 1 AS one",
        "CREATE VIEW between AS SELECT * FROM first",
        "CREATE MATERIALIZED VIEW a_second AS SELECT * FROM between",
        "CREATE MATERIALIZED VIEW unfilled AS SELECT 1 WITH NO DATA",
        "CREATE TABLE part (id int PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (10)",
        "CREATE UNLOGGED TABLE quick (id int)",
        "CREATE TABLE left_out (id int)",
        "CREATE EXTENSION IF NOT EXISTS pg_trgm" if _has_trgm(database) else "SELECT 1",
    )
    baseline = await taken(database, Sink(), exclude_tables=["public.left_*"])
    catalog = baseline.schema.catalog
    modes = {table.name: table.mode for table in catalog.tables}
    assert modes == {"t": "key", "part": "excluded", "part_1": "key", "quick": "excluded", "left_out": "excluded"}
    parents = {table.name: table.parent for table in catalog.tables}
    assert parents["part_1"] == next(table.oid for table in catalog.tables if table.name == "part")
    assert catalog.materialized == ['"public"."first"', '"public"."a_second"']
    assert "postgres" in catalog.roles
    [sequence] = baseline.sequences.values
    assert (sequence.name, sequence.last_value, sequence.owner_attnum) == ("t_id_seq", 1, 1)
    assert names(baseline.tables) == ["part_1", "t"]


def _has_trgm(dsn: str) -> bool:
    with psycopg.connect(dsn) as session:
        return session.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'pg_trgm'").fetchone() is not None


async def test_cancellation_leaves_no_worker_behind(database: str) -> None:
    """A baseline that is cancelled while it stores a part ends its sessions."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT generate_series(1, 1000)")
    sink = Sink()
    sink.open.clear()
    work = asyncio.create_task(taken(database, sink))
    await asyncio.wait_for(sink.waiting.wait(), 30)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    await _alone(database)


async def test_a_store_that_fails_ends_the_baseline(database: str) -> None:
    """What the journal says of a part is what the baseline raises."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")

    class Failing(Sink):
        async def put_part(self, key: str, data: bytes) -> None:
            raise Unavailable(f"no place for {key}: {len(data)} bytes")

    with pytest.raises(Unavailable, match="no place"):
        await taken(database, Failing())
    await _alone(database)


async def _alone(dsn: str) -> None:
    """Wait until no other session is on the database."""
    with psycopg.connect(dsn, autocommit=True) as session:
        for _ in range(100):
            row = session.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            ).fetchone()
            if row == (0,):
                return
            await asyncio.sleep(0.1)
    raise AssertionError("sessions are left")


async def test_only_named_schemas_are_dumped_and_copied(database: str) -> None:
    """With ``schemas``, the others are neither in the dump nor in the rows; a schema that may not be read does no harm."""
    role = f"reader_{uuid.uuid4().hex[:8]}"
    run(
        database,
        f"CREATE ROLE {role} LOGIN",
        "CREATE SCHEMA app",
        "CREATE SCHEMA hidden",
        "CREATE TABLE app.t (id int PRIMARY KEY)",
        "CREATE TABLE hidden.secret_table (id int PRIMARY KEY)",
        f"GRANT USAGE ON SCHEMA app TO {role}",
        f"GRANT SELECT ON app.t TO {role}",
    )
    try:
        baseline = await taken(database.replace("postgres@", f"{role}@"), Sink(), schemas=["app"])
        assert [table.name for table in baseline.schema.catalog.tables if table.mode != "excluded"] == ["t"]
        assert b"secret_table" not in baseline.dump
    finally:
        run(database, f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")


@pytest.mark.parametrize("catalog", ["pg_class", "pg_attribute", "pg_proc"])
async def test_a_catalog_can_be_rewritten_while_pg_dump_begins(database: str, tmp_path: Path, catalog: str) -> None:
    """VACUUM FULL of a catalog waits for nobody who waits for it: without an end, no session could begin."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY)", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    async with hold_snapshot(Access.of(database)) as held:
        tools = find_tools(held.connection.info.server_version)
        slow = tmp_path / "pg_dump"
        rewrite = f"PGOPTIONS='-c lock_timeout=5s' '{tools.bin}/psql' -q -X -v ON_ERROR_STOP=1 -c 'VACUUM FULL {catalog}' '{database}' >&2"
        slow.write_text(f"#!/bin/sh\n{rewrite} || exit 9\nexec '{tools.bin}/pg_dump' \"$@\"\n")
        slow.chmod(0o755)
        taken = await take_schema(
            held, Access.of(database), dataclasses.replace(tools, bin=tmp_path), Scope(("public",), ()), cause="baseline"
        )
    assert [table.name for table in taken.schema.catalog.tables] == ["t"]
    assert taken.dump
