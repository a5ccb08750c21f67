"""Somebody drops one of our publications while rows are written."""

from __future__ import annotations

import uuid

from archiver.journal.reader import Reader
from archiver.replay.postgres.load import restore_to_database
from tests.integration.postgres.rig import capture
from tests.integration.replay.arrange import baseline, plan, quiet, run
from tests.servers.compare import differences
from tests.servers.postgres import PostgresServer


async def test_capture_gets_over_a_dropped_publication(database: str, target_database: str, postgres: PostgresServer) -> None:
    """18 goes on without it, and the tables are copied again; before, the server never decodes past that place: a gap, and a new baseline."""
    newer = postgres.version >= 18
    slot = f"archiver_{uuid.uuid4().hex[:12]}"
    run(database, "CREATE TABLE t (id int PRIMARY KEY, note text)", "INSERT INTO t VALUES (1, 'first')")
    async with capture(database, slot, poll_seconds=0.3) as made:
        await baseline(made)
        await quiet(made, database)
        checkpoint = made.writer.marks["db"].checkpoint
        run(database, f"DROP PUBLICATION {slot}_key; INSERT INTO t VALUES (2, 'unseen')")

        async def noticed() -> bool:
            return bool(await made.gaps()) and (newer or made.writer.marks["db"].checkpoint > checkpoint)

        await made.until(noticed)
        await quiet(made, database)
        run(database, "INSERT INTO t VALUES (3, 'seen again')")
        await quiet(made, database)
        await restore_to_database(await plan(made, "latest"), Reader(made.store), made.store, target_database)
        assert differences(database, target_database) == []
        gaps = [gap.reason for gap in await made.gaps()]
    assert gaps == ["table_added" if newer else "publication_lost"]
