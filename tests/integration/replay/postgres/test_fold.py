"""The fold against real servers: random changes through a slot, folded, beside what COPY says at the same moment."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from random import Random

import psycopg
import pytest
from psycopg.types.json import Jsonb

from archiver.capture.postgres.catalog.catalog import read_catalog
from archiver.capture.postgres.catalog.ddl_triggers import install
from archiver.capture.postgres.catalog.scope import Scope
from archiver.capture.postgres.session.access import Access, Session
from archiver.journal.entry import Kind, Placed, Run
from archiver.postgres.lsn import parse_lsn
from archiver.postgres.records import Catalog, Schema, Snapshot, Table, TableRows
from archiver.replay.postgres.fold.database import DatabaseFold, Limit, Sizes
from archiver.replay.postgres.write.spill_file import SpillFile
from tests.servers.postgres import PostgresServer

TABLES = """
CREATE TYPE mood AS ENUM ('fine', 'bad\\day');
CREATE TABLE runs (id bigint PRIMARY KEY, state text, big text, doc jsonb, at timestamptz DEFAULT now(), m mood, amount numeric);
ALTER TABLE runs ALTER big SET STORAGE EXTERNAL;
CREATE TABLE "odd ""name" (note text, k1 text, k2 int, raw bytea, twice int GENERATED ALWAYS AS (k2 * 2) STORED, PRIMARY KEY (k2, k1));
CREATE TABLE whole (a int, b text, big text);
ALTER TABLE whole ALTER big SET STORAGE EXTERNAL;
ALTER TABLE whole REPLICA IDENTITY FULL;
CREATE TABLE logs (line text, n int);
CREATE TABLE tokens (token text PRIMARY KEY, other text, n float8);
ALTER TABLE tokens ALTER token SET STORAGE EXTERNAL;
CREATE PUBLICATION p FOR TABLE runs, "odd ""name", whole, tokens;
CREATE PUBLICATION p_insert FOR TABLE logs WITH (publish = 'insert, truncate');
"""
TEXTS = ["", "plain", "tab\there", "line\nbreak\r", "back\\slash", "\\N", "\\U", "\b\f\v", "é€", "null", "x" * 30]


@dataclass
class Journal:
    """What capture would have written."""

    placed: list[Placed] = field(default_factory=list)
    schemas: list[Schema] = field(default_factory=list)
    parts: dict[tuple[int, int], bytes] = field(default_factory=dict)
    """COPY text by number of the snapshot and oid."""
    seq: int = 1

    def put(self, kind: Kind, bodies: list[bytes]) -> None:
        self.placed.append(Placed(self.seq, 0, 1, 0, Run.of("db", kind, bodies, observed=0)))
        self.seq += len(bodies)


@dataclass
class Moment:
    lsn: int
    catalog: Catalog
    rows: dict[int, list[bytes]]


async def copy(session: Session, table: Table) -> tuple[list[int], bytes]:
    columns = [column for column in table.columns if not column.generated]
    name = psycopg.sql.Identifier(table.schema, table.name)
    names = psycopg.sql.SQL(", ").join(psycopg.sql.Identifier(column.name) for column in columns)
    async with session.cursor().copy(psycopg.sql.SQL("COPY {} ({}) TO STDOUT").format(name, names)) as stream:
        return [column.attnum for column in columns], b"".join([bytes(chunk) async for chunk in stream])


async def schema(session: Session, journal: Journal, cause: str) -> Catalog:
    """Call inside a REPEATABLE READ transaction."""
    catalog = (await read_catalog(session, Scope())).catalog
    row = await (await session.execute("SELECT pg_current_snapshot()::text, pg_current_wal_insert_lsn()::text")).fetchone()
    assert row
    journal.schemas.append(Schema(row[1], row[0], 0, cause, session.info.server_version, "", catalog))
    return catalog


async def snapshot(session: Session, journal: Journal, number: int, names: list[str] | None = None, lsn: str = "") -> Snapshot:
    """Rows of tables under the session's transaction."""
    catalog = await schema(session, journal, "poll")
    rows = []
    for table in catalog.tables:
        if names is None or table.name in names:
            attnums, text = await copy(session, table)
            rows.append(TableRows(table.oid, table.schema, table.name, table.mode, [], attnums, []))
            journal.parts[number, table.oid] = text
    schema_entry = journal.schemas[-1]
    return Snapshot(lsn or schema_entry.lsn, schema_entry.visible, 0, 0, rows)


class Load:
    """Random changes by three sessions that do not wait for each other: each has its own rows."""

    def __init__(self, random: Random, sessions: list[Session]) -> None:
        self.random, self.sessions = random, sessions
        self.extra = 0

    def text(self) -> str:
        return self.random.choice(TEXTS)

    async def change(self, number: int, times: int = 1) -> None:
        session, random = self.sessions[number], self.random
        for _ in range(times):
            key, text = number * 1000 + random.randint(1, 12), self.text()
            what = random.randint(0, 13)
            if what <= 2:
                await session.execute(
                    "INSERT INTO runs (id, state, big, doc, m, amount) VALUES (%s, %s, repeat(%s, 700), %s, %s, %s) ON CONFLICT (id) DO UPDATE SET state = excluded.state",
                    (key, text, random.choice("abc") * 4, Jsonb({"k": text}), random.choice(["fine", "bad\\day", None]), random.random()),
                )  # fmt: skip
            elif what == 3:
                await session.execute("UPDATE runs SET state = %s WHERE id = %s", (text, key))
            elif what == 4:
                await session.execute(
                    "UPDATE runs SET id = id + 500 WHERE id = %s AND NOT EXISTS (SELECT FROM runs WHERE id = %s)", (key, key + 500)
                )
            elif what == 5:
                await session.execute(
                    "UPDATE runs SET id = id - 500, state = %s WHERE id = %s AND NOT EXISTS (SELECT FROM runs WHERE id = %s)",
                    (text, key + 500, key),
                )
            elif what == 6:
                await session.execute("DELETE FROM runs WHERE id = %s OR id = %s", (key, key + 500))
            elif what == 7:
                await session.execute(
                    'INSERT INTO "odd ""name" (note, k1, k2, raw) VALUES (%s, %s, %s, %s) ON CONFLICT (k2, k1) DO UPDATE SET raw = NULL, k1 = excluded.k1 || %s',
                    (text, random.choice(TEXTS), number, random.randbytes(3), str(random.random())),
                )  # fmt: skip
            elif what == 8:
                await session.execute('DELETE FROM "odd ""name" WHERE k2 = %s AND k1 = %s', (number, text))
            elif what == 9:
                await session.execute(
                    "INSERT INTO whole SELECT %s, %s, repeat('w', %s) FROM generate_series(1, 2)", (number, text, random.choice([1, 3000]))
                )
            elif what == 10:
                await session.execute("UPDATE whole SET b = %s WHERE ctid = (SELECT ctid FROM whole WHERE a = %s LIMIT 1)", (text, number))
            elif what == 11:
                await session.execute("DELETE FROM whole WHERE ctid IN (SELECT ctid FROM whole WHERE a = %s LIMIT 2)", (number,))
            elif what == 12:
                await session.execute("INSERT INTO logs VALUES (%s, %s)", (text, number))
            else:
                token = str(number) + random.choice("xy") * 2100
                await session.execute(
                    "INSERT INTO tokens VALUES (%s, repeat('o', 4000), %s) ON CONFLICT (token) DO UPDATE SET n = excluded.n, other = %s",
                    (token, random.random(), text),
                )

    async def transaction(self, number: int) -> None:
        """Small, sometimes with a savepoint that is rolled back, sometimes large enough to be streamed."""
        session, random = self.sessions[number], self.random
        async with session.transaction(force_rollback=random.random() < 0.1):
            for _ in range(random.randint(1, 3)):
                large = random.random() < 0.3
                async with session.transaction(force_rollback=random.random() < 0.3):
                    await self.change(number, 2)
                    if large:
                        await session.execute(
                            "INSERT INTO runs (id, state, big) SELECT %s + i, %s, md5(i::text) FROM generate_series(1, 700) i ON CONFLICT DO NOTHING",
                            (number * 1000000 + random.randint(1, 5) * 1000, self.text()),
                        )
                await self.change(number, 2)

    async def ddl(self, session: Session) -> None:
        """Nobody else is in a transaction."""
        self.extra += 1
        extra = f"c{self.extra}"
        statement = self.random.choice(
            [
                f"ALTER TABLE runs ADD COLUMN {extra} text DEFAULT 'tab\there'; UPDATE runs SET {extra} = 'y' WHERE id % 3 = 0",
                f"ALTER TABLE whole ADD COLUMN {extra} int DEFAULT 7",
                "ALTER TABLE runs DROP COLUMN doc; ALTER TABLE runs ADD COLUMN doc jsonb; UPDATE runs SET doc = '5' WHERE id % 2 = 0",
                f"ALTER TABLE runs RENAME COLUMN state TO {extra}; ALTER TABLE runs RENAME COLUMN {extra} TO state",
                "TRUNCATE logs, tokens",
                "ALTER TABLE tokens REPLICA IDENTITY FULL",
                "ALTER TABLE tokens REPLICA IDENTITY DEFAULT",
                f'ALTER TABLE "odd ""name" ADD COLUMN {extra} float8; ALTER TABLE "odd ""name" DROP COLUMN {extra}',
            ]
        )
        async with session.transaction():
            await session.execute(statement.encode())


async def fetch(session: Session, journal: Journal, *, version: int, keep: bool) -> None:
    """What the slot has now, as a connection of its own: unfinished transactions come again from their beginning."""
    journal.put(Kind.PG_STREAM, [b"{}"])
    function = "pg_logical_slot_peek_binary_changes" if keep else "pg_logical_slot_get_binary_changes"
    cursor = await session.execute(
        f"SELECT lsn::text, data FROM {function}('s', NULL, NULL, 'proto_version', '{4 if version >= 16 else 3}',"
        " 'publication_names', 'p,p_insert', 'messages', 'true', 'streaming', 'on')",
        binary=True,
    )
    frames = [b"w" + struct.pack(">QQq", parse_lsn(lsn), parse_lsn(lsn), 0) + bytes(data) for lsn, data in await cursor.fetchall()]
    for begin in range(0, len(frames), 333):
        journal.put(Kind.PG_FRAMES, frames[begin : begin + 333])


@pytest.mark.parametrize("seed", range(2))
async def test_fold_equals_copy(database: str, postgres: PostgresServer, seed: int) -> None:
    """Rows at moments between random changes, folded from the stream, are byte for byte the rows that COPY gave at those moments."""
    random = Random(seed)
    access = Access.of(database)
    sessions = [await access.connect() for _ in range(4)]
    main, journal = sessions[3], Journal()
    try:
        for session in sessions[:3]:
            await session.execute("SET search_path = public")
        await sessions[0].execute(TABLES.encode())
        await main.execute("SET logical_decoding_work_mem = '64kB'")
        assert await install(main)
        load = Load(random, sessions[:3])
        for number in (0, 1, 2) * 4:
            await load.transaction(number)
        async with await psycopg.AsyncConnection.connect(
            **{**access.arguments(), "target_session_attrs": "any"}, replication="database", autocommit=True
        ) as replication:
            created = await (await replication.execute("CREATE_REPLICATION_SLOT s LOGICAL pgoutput (SNAPSHOT 'export')")).fetchone()
            assert created
            async with main.transaction():
                await main.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                await main.execute(f"SET TRANSACTION SNAPSHOT '{created[2]}'".encode())
                checkpoint = await snapshot(main, journal, 0, lsn=created[1])
        recopied: list[tuple[int, Snapshot]] = []
        moments: list[Moment] = []
        for step in range(24):
            await load.transaction(random.randint(0, 2))
            if random.random() < 0.3:
                # Open transactions while others commit, rows are copied again and the stream is cut.
                async with sessions[0].transaction(), sessions[1].transaction():
                    await load.change(0, 3)
                    await load.transaction(2)
                    await load.change(1, 3)
                    if random.random() < 0.5:
                        async with main.transaction():
                            await main.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                            again = await snapshot(main, journal, step + 1, random.sample(["runs", "whole", "logs", "tokens"], 2))
                        recopied.append((step + 1, again))
                    await load.transaction(2)
                    if random.random() < 0.5:
                        await fetch(main, journal, version=postgres.version, keep=random.random() < 0.5)
            if random.random() < 0.3:
                await load.ddl(sessions[2])
                async with main.transaction():
                    await main.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                    await schema(main, journal, "ddl")
            if random.random() < 0.3:
                await fetch(main, journal, version=postgres.version, keep=random.random() < 0.5)
            if step % 6 == 5:
                async with main.transaction():
                    await main.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                    row = await (await main.execute("SELECT pg_current_wal_insert_lsn()::text")).fetchone()
                    catalog = await schema(main, journal, "poll")
                    rows = {table.oid: sorted((await copy(main, table))[1].splitlines(keepends=True)) for table in catalog.tables}
                assert row
                moments.append(Moment(parse_lsn(row[0]), catalog, rows))
                recopied.append((-1, checkpoint))  # a mark: what was copied before this may serve this moment
        await fetch(main, journal, version=postgres.version, keep=False)
        assert any(body[25:26] == b"S" for placed in journal.placed for body in placed.run.bodies()), "nothing was streamed"
        for number, moment in enumerate(moments):
            compare(journal, checkpoint, recopied, number, moment, random)
    finally:
        for session in sessions:
            await session.close()


SMALL = Sizes(
    batch_bytes=50_000, table_bytes=9_000, piece_bytes=5_000, compact_rows=50, held_bytes=20_000, staged_bytes=9_000, partitions=5
)


def compare(
    journal: Journal, checkpoint: Snapshot, recopied: list[tuple[int, Snapshot]], number: int, moment: Moment, random: Random
) -> None:
    fold = DatabaseFold(
        journal.schemas,
        limit=Limit(lsn=moment.lsn),
        sizes=random.choice([Sizes(), SMALL]),
        spill=random.choice([None, SpillFile()]),
    )
    fold.checkpoint(checkpoint)
    base = dict.fromkeys((rows.oid for rows in checkpoint.tables), 0)
    marks = 0
    for key, again in recopied:
        marks += key < 0
        if marks > number:
            break
        if key > 0 and random.random() < 0.7:
            fold.recopied(again)
            base |= dict.fromkeys((rows.oid for rows in again.tables), key)
    for placed in journal.placed:
        if not fold.feed(placed):
            break
    summary = fold.finish()
    assert summary.notes == []
    assert summary.last is not None
    assert sum(summary.changes.values()) > 0
    for table in moment.catalog.tables:
        state = fold.table(table.oid)
        output = state.output([column.attnum for column in table.columns if not column.generated])
        pieces = list(output.part(journal.parts[base[table.oid], table.oid])) if state.base else []
        text = b"".join([*pieces, *output.rest()])
        assert sorted(text.splitlines(keepends=True)) == moment.rows[table.oid], table.name
