"""Columns that changed more than once before anybody looked: whose value is it?"""

from __future__ import annotations

import uuid

import pytest

from archiver.journal.reader import Reader
from archiver.replay.postgres.restore import restore_to_database
from tests.integration.capture.postgres.rig import capture
from tests.integration.replay.postgres.arrange import baseline, plan, quiet, run
from tests.servers.compare import differences

TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text, amount int, big text)"
ROWS = [
    "ALTER TABLE t ALTER big SET STORAGE EXTERNAL",
    "INSERT INTO t SELECT g, 'v' || g, g, repeat('b', 9000) FROM generate_series(1, 9) g",
]
STEPS = {
    "replaced by another type": [
        "ALTER TABLE t ADD COLUMN amount_new bigint",
        "UPDATE t SET amount_new = amount",
        "ALTER TABLE t DROP COLUMN amount",
        "UPDATE t SET amount_new = amount_new + 1 WHERE id < 5",
        "ALTER TABLE t RENAME amount_new TO amount",
    ],
    "replaced by the same type": [
        "ALTER TABLE t ADD COLUMN amount_new int DEFAULT 3",
        "UPDATE t SET amount_new = amount WHERE id > 3",
        "ALTER TABLE t DROP COLUMN amount",
        "UPDATE t SET amount_new = amount_new + 1 WHERE id < 5",
        "ALTER TABLE t RENAME amount_new TO amount",
    ],
    "renamed twice": [
        "ALTER TABLE t RENAME v TO w",
        "INSERT INTO t VALUES (10, 'x', 3)",
        "ALTER TABLE t RENAME w TO u",
    ],
    "came and went": [
        "ALTER TABLE t ADD COLUMN ghost text DEFAULT 'boo'",
        "UPDATE t SET ghost = 'gone' WHERE id = 3",
        "ALTER TABLE t DROP COLUMN ghost",
        "ALTER TABLE t ADD COLUMN kept text",
        "UPDATE t SET kept = 'kept' WHERE id = 4",
    ],
}


DEFAULTS = """
ALTER TABLE t ADD a text[] DEFAULT '{"a b",NULL,"x,y","q\\\\"}', ADD j jsonb DEFAULT '{"a": [1, "x\\ny"]}', ADD s text DEFAULT E'tab\\tnl\\n\\\\',
    ADD b box DEFAULT '((1,1),(0,0))', ADD bb box[] DEFAULT '{((1,1),(0,0));((2,2),(0,0))}', ADD e box[] DEFAULT '{}', ADD n box
"""


@pytest.mark.postgres(16, 18)
async def test_rows_older_than_a_column_get_its_default(database: str, target_database: str) -> None:
    """Of types whose arrays are separated by something else than a comma too."""
    run(database, TABLE, *ROWS)
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.3) as made:
        await baseline(made)
        run(database, DEFAULTS, "INSERT INTO t (id) VALUES (100)")
        await quiet(made, database)
        await restore_to_database(await plan(made, "latest"), Reader(made.store), made.store, target_database)
        assert differences(database, target_database) == []


@pytest.mark.postgres(16, 18)
@pytest.mark.parametrize("steps", STEPS.values(), ids=[name.replace(" ", "-") for name in STEPS])
async def test_migrations_while_nobody_looked(database: str, target_database: str, steps: list[str]) -> None:
    """A migration in several steps while the archiver is away: every value comes back where it belongs."""
    run(database, TABLE, *ROWS)
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.3) as made:
        await baseline(made)
        await quiet(made, database)
        await made.stop()
        run(database, *steps)
        await made.start()
        await quiet(made, database)
        run(database, "UPDATE t SET id = id + 100 WHERE id = 2")
        await quiet(made, database)
        planned = await plan(made, "latest")
        assert planned.gaps == []
        report = await restore_to_database(planned, Reader(made.store), made.store, target_database)
        assert report.notes == []
        assert differences(database, target_database) == []


@pytest.mark.postgres(16, 18)
async def test_a_description_holds_behind_the_copy_that_its_change_made(database: str, target_database: str) -> None:
    """A row right after the change makes the server describe the table, while the newest entry still has the column as generated.

    The server says it once: later rows are read by it too, and their values belong to the column.
    """
    run(database, TABLE, *ROWS)
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.3) as made:
        await baseline(made)
        run(database, "ALTER TABLE t ADD COLUMN twice int GENERATED ALWAYS AS (amount * 2) STORED")
        await quiet(made, database)
        run(database, "ALTER TABLE t ALTER twice DROP EXPRESSION", "INSERT INTO t (id, amount) VALUES (50, 9)")
        await quiet(made, database)
        run(database, "UPDATE t SET twice = -id WHERE id < 4", "INSERT INTO t (id, twice) VALUES (100, 5)")
        await quiet(made, database)
        await made.stop()
        await restore_to_database(await plan(made, "latest"), Reader(made.store), made.store, target_database)
    assert differences(database, target_database) == []
