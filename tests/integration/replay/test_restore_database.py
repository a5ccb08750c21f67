"""Capture, journal and restore on real servers, judged by SQL alone."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from archiver.journal.reader import Reader
from archiver.replay.postgres.load import restore_to_database
from tests.integration.postgres.rig import capture
from tests.integration.replay.agents import CHANGES, FILL, SCHEMA
from tests.integration.replay.arrange import ask, baseline, caught_up, plan, quiet, run
from tests.integration.replay.copies import expected
from tests.servers.compare import differences
from tests.servers.postgres import PostgresServer


@pytest.fixture
def slot() -> str:
    return f"archiver_{uuid.uuid4().hex[:12]}"


async def test_a_good_state_comes_back_exactly(postgres: PostgresServer, database: str, target_database: str, slot: str) -> None:
    """Schema, rows of every kind of table, sequences and views equal those of the source at the point, not at the journal's end."""
    run(database, SCHEMA, FILL)
    async with capture(database, slot, poll_seconds=0.5) as made:
        await baseline(made)
        await asyncio.to_thread(run, database, *CHANGES)
        lsn = await caught_up(made, database)
        with expected(postgres, database) as good:
            run(
                database,
                "UPDATE runs SET state = 'ruined'",
                "DELETE FROM ledger",
                "TRUNCATE events",
                "DROP VIEW open_runs",
                "ALTER TABLE runs DROP raw",
            )
            await quiet(made, database)
            planned = await plan(made, lsn)
            report = await restore_to_database(planned, Reader(made.store), made.store, target_database)
            assert planned.gaps == []
            assert planned.schema.certain, planned.schema.reason
            run(good, "TRUNCATE cache", "REFRESH MATERIALIZED VIEW per_state")
            for dsn in (good, target_database):
                assert ask(dsn, "SELECT relispopulated FROM pg_class WHERE relname = 'never_filled'") is False
                run(dsn, "DROP MATERIALIZED VIEW never_filled")
            found = differences(good, target_database)
            assert [text for text in found if not text.startswith("sequences of ")] == []
    assert report.constraints_not_valid == ["public.runs runs_amount"]
    assert {f"{table.schema}.{table.name}": table.rows for table in report.tables}["public.nothing"] == 1
