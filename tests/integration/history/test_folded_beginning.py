"""What changed since a time far behind the nearest copy: told from a state that is folded there as from the copy on."""

from __future__ import annotations

import uuid

import pytest

from archiver.clock import to_text
from archiver.history.span import beginnings
from archiver.history.span.bounds import Bounds
from archiver.history.span.changes import Change
from archiver.history.span.folded_beginning import FoldedState
from archiver.history.span.selection import Selection
from archiver.history.span.span_log import SpanLog
from archiver.journal.reader import Reader
from archiver.replay.points import Point, parse_point, resolve
from tests.integration.capture.postgres.rig import Capture, capture
from tests.integration.replay.postgres.arrange import baseline, caught_up, quiet, run

pytestmark = pytest.mark.postgres(18)


@pytest.fixture
def slot() -> str:
    return f"archiver_{uuid.uuid4().hex[:12]}"


async def told(made: Capture, start: str) -> tuple[list[Change], list[str], list[str]]:
    """The answer from a point on, and what is not known of it."""
    reader = Reader(made.store)
    log = SpanLog(reader, Selection(), Bounds(await resolve(reader, parse_point(start)), await resolve(reader, parse_point("latest"))))
    return [change async for change in log.changes()], log.gaps, log.notes


async def test_as_from_the_copy_on(database: str, slot: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From behind every commit, the same changes with the same old values: by key and by the whole row, of TOASTed values, moved keys,
    emptied tables, and across a schema change, before which nothing is folded that a later entry would have to tell."""
    run(
        database,
        """CREATE TABLE keyed (id int PRIMARY KEY, v text, big text); ALTER TABLE keyed ALTER big SET STORAGE EXTERNAL;
        CREATE TABLE whole (a int, b text); ALTER TABLE whole REPLICA IDENTITY FULL; CREATE TABLE emptied (a int PRIMARY KEY);
        INSERT INTO keyed SELECT g, E'tab\\t' || g, repeat('b', 5000) FROM generate_series(1, 5) g; INSERT INTO whole VALUES (1, 'x')""",
    )
    folded: list[FoldedState | None] = []
    state_before = beginnings.state_before

    async def noted(reader: Reader, source: str, start: Point, *, most_bytes: int) -> FoldedState | None:
        folded.append(await state_before(reader, source, start, most_bytes=most_bytes))
        return folded[-1]

    monkeypatch.setattr(beginnings, "state_before", noted)
    async with capture(database, slot, poll_seconds=0.2) as made:
        await baseline(made)
        for statement in (
            "UPDATE keyed SET v = NULL WHERE id = 1",
            "UPDATE keyed SET id = 10 WHERE id = 2",
            "INSERT INTO emptied VALUES (1), (2)",
            "UPDATE whole SET b = NULL",
            "TRUNCATE emptied",
            "DELETE FROM keyed WHERE id = 3",
            "UPDATE keyed SET v = 'again', big = 'small' WHERE id = 1",
            "INSERT INTO emptied VALUES (1)",
            "UPDATE keyed SET v = 'last'",
            "DELETE FROM whole",
        ):
            run(database, statement)
        await quiet(made, database)
        run(database, "ALTER TABLE keyed ADD COLUMN note text")
        await quiet(made, database)
        run(database, "UPDATE keyed SET note = 'n'", "DELETE FROM emptied")
        await caught_up(made, database)
        everything, _, _ = await told(made, "1")
        times = sorted({each.time for each in everything if each.transaction})
        for time in times[:-1]:
            start = to_text(time)
            monkeypatch.setattr(beginnings, "FAR_ENTRIES", 1 << 40)
            plain = await told(made, start)
            monkeypatch.setattr(beginnings, "FAR_ENTRIES", -1)
            assert await told(made, start) == plain, start
        assert sum(each is not None for each in folded) >= len(times) // 2
