"""Statements at a source, and waiting until they are in the journal."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psycopg

from archiver.capture.postgres.catalog.fingerprint import read_fingerprint
from archiver.capture.postgres.session.access import Access
from archiver.journal.reader import Reader
from archiver.replay.points import parse_point
from archiver.replay.postgres.restore import RestorePlan, plan_restore
from archiver.replay.postgres.write.plan_records import fold_changes, gather
from archiver.replay.postgres.write.table_rows import rows_of
from tests.integration.capture.postgres.recorded import schemas
from tests.integration.capture.postgres.rig import SOURCE, Capture
from tests.servers.postgres import PostgresServer


def run(dsn: str, *statements: str) -> None:
    """Each by itself."""
    with psycopg.connect(dsn, autocommit=True) as session:
        for statement in statements:
            session.execute(statement.encode())


def ask(dsn: str, query: str) -> object:
    """The first column of the first row."""
    with psycopg.connect(dsn) as session:
        row = session.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


async def caught_up(made: Capture, dsn: str) -> str:
    """Wait until everything so far is durable; an LSN behind it."""
    lsn = str(ask(dsn, "SELECT pg_current_wal_insert_lsn()::text"))
    # A transaction moves the server's end on, so that the position is surely passed.
    run(dsn, "SELECT pg_logical_emit_message(true, 'test', 'x')")
    await made.reached(lsn)
    return lsn


async def quiet(made: Capture, dsn: str) -> str:
    """Wait until the journal has the schema as it is and a copy of every table that needs one; an LSN behind all that."""
    await caught_up(made, dsn)
    session = await Access.of(dsn).connect()

    async def known() -> bool:
        # Read anew each time: an archiver that has just been started may still install what is its own.
        newest = (await schemas(made))[-1]
        return newest.fingerprint == await read_fingerprint(session) and not newest.catalog.pending

    try:
        await made.until(known, 60)
    finally:
        await session.close()
    return await caught_up(made, dsn)


async def baseline(made: Capture) -> None:
    """Start, and wait for the first checkpoint."""
    await made.start()
    await made.until(lambda: made.writer.marks[SOURCE].checkpoint > 0)


async def plan(made: Capture, at: str) -> RestorePlan:
    """The plan at a point."""
    return await plan_restore(Reader(made.store), SOURCE, parse_point(at))


def load(server: PostgresServer, folder: Path, database: str, role: str = "postgres") -> str:
    """What psql says while it loads a folder; it must not fail."""
    command: list[str | Path] = [
        server.bin / "psql",
        "-X",
        "-q",
        "-f",
        folder / "restore.sql",
        server.dsn(database).replace("postgres@", f"{role}@"),
    ]
    done = subprocess.run(command, check=False, capture_output=True)
    said = done.stderr.decode()
    assert done.returncode == 0, said
    return said


async def rows(made: Capture, planned: RestorePlan) -> dict[str, list[bytes]]:
    """The rows of every table at a point, sorted."""
    reader = Reader(made.store)
    material = await gather(planned, reader)
    fold, summary = await fold_changes(planned, material, reader)
    assert summary.notes == []
    found = {}
    for table in material.schema.catalog.tables:
        if table.kind != "p" and table.mode != "excluded":
            text = b"".join([bytes(piece) async for piece in rows_of(fold, table, made.store).read()])
            found[f"{table.schema}.{table.name}"] = sorted(text.splitlines())
    return found
