"""The server fails in itself at one place of its log, whenever it decodes it."""

from __future__ import annotations

import uuid

import pytest

from archiver.capture.postgres import source
from archiver.journal.reader import Reader
from archiver.replay.postgres.restore import restore_to_database
from tests.integration.capture.postgres.rig import capture
from tests.integration.replay.postgres.arrange import baseline, plan, quiet, run
from tests.servers.compare import differences

# For a moment that only decoding ever sees again, two tables have one file: "unexpected duplicate", as servers did by themselves.
_ONE_FILE = """
BEGIN;
CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT relfilenode FROM pg_class WHERE oid = 'other'::regclass;
UPDATE pg_class SET relfilenode = pg_relation_filenode('t') WHERE oid = 'other'::regclass;
INSERT INTO t VALUES (2, 'not decoded');
UPDATE pg_class SET relfilenode = (SELECT relfilenode FROM kept) WHERE oid = 'other'::regclass;
COMMIT;
"""


@pytest.mark.postgres(15, 18)
async def test_capture_gets_over_a_place_that_the_server_cannot_decode(
    database: str, target_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried some times, then there is a gap and a new baseline; the slot would keep the log for ever."""
    monkeypatch.setattr(source, "_HOPELESS", 3)
    run(database, "CREATE TABLE t (id int PRIMARY KEY, note text)", "CREATE TABLE other (id int PRIMARY KEY)")
    run(database, "INSERT INTO t VALUES (1, 'first')", "INSERT INTO other VALUES (1)")
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.3) as made:
        await baseline(made)
        await quiet(made, database)
        checkpoint = made.writer.marks["db"].checkpoint
        run(database, _ONE_FILE)
        await made.until(lambda: made.writer.marks["db"].checkpoint > checkpoint, 90)
        run(database, "INSERT INTO t VALUES (3, 'decoded again')")
        await quiet(made, database)
        await restore_to_database(await plan(made, "latest"), Reader(made.store), made.store, target_database)
        assert differences(database, target_database) == []
        assert [gap.reason for gap in await made.gaps()] == ["log_undecodable"]
    assert ["unexpected duplicate" in error.message for error in made.errors] == [True] * 3
