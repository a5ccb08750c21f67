"""What is counted of an archive does not depend on where it is read, and is what `archiver log` lists."""

from __future__ import annotations

import shutil
from collections import Counter as Tally
from pathlib import Path

import pytest

from archiver.clock import SystemClock
from archiver.history.span.bounds import EVERYTHING
from archiver.history.span.selection import Selection
from archiver.history.span.span_log import SpanLog
from archiver.journal.kept_segments import KeptSegments
from archiver.journal.keys import HISTORY
from archiver.journal.reader import Reader
from archiver.maintenance.history_files import write_history
from archiver.store.directory import DirectoryStore
from archiver.timeline.counting import Counted, Counter
from archiver.timeline.counts import CHANGES, DELETIONS
from archiver.timeline.tail_counts import TailCounts
from archiver.timeline.windows import Windows
from tests.stories.timeline_archive import forge


def told(counted: Counted) -> dict[tuple[str, str], list[tuple[int, int, int]]]:
    assert (counted.problems, counted.uncounted, counted.busy) == ([], [], False)
    return {lane: list(zip(*(each.tolist() for each in cells), strict=True)) for lane, cells in counted.counts.lanes.items()}


async def test_files_and_journal_count_the_same(tmp_path: Path) -> None:
    """Files up to nine o'clock and the journal behind them, the journal alone, files alone, and the list: each second has the same counts."""
    await forge(tmp_path)
    store = DirectoryStore(tmp_path)
    tally: dict[tuple[str, str], dict[int, list[int]]] = {}
    async for change in SpanLog(Reader(store), Selection(), EVERYTHING).changes():
        if change.operation in CHANGES:
            cell = tally.setdefault((change.source, change.kind or change.table), {}).setdefault(change.time // 1_000_000, [0, 0])
            cell[0] += 1
            cell[1] += change.operation in DELETIONS
    listed = {lane: [(second, *cell) for second, cell in sorted(cells.items())] for lane, cells in tally.items()}
    with KeptSegments() as kept:
        counter = Counter(store, kept, SystemClock())
        assert told(await counter.counted(60)) == listed
        async for _ in write_history(Reader(store), SystemClock()):
            pass
        # The files reach to the end meanwhile, and nothing is counted twice.
        assert told(await counter.counted(60)) == listed
        assert told(await Counter(store, kept, SystemClock()).counted(60)) == listed
        shutil.rmtree(tmp_path / HISTORY)
        assert told(await counter.counted(60)) == listed
        await counter.stop()
    reader = Reader(store)
    tail = await reader.tail()
    assert tail is not None
    for source in ("db", "kube"):
        passes = Tally[str]()
        one = await TailCounts.begun(reader, source, None, list(tail.sources))
        assert one is not None
        while one.segment <= tail.number:
            await one.go_on(reader, tail.number, lambda: True)
            passes[source] += 1
        assert passes[source] > 10
        found = {lane: list(zip(*(each.tolist() for each in cells), strict=True)) for lane, cells in one.counts.lanes.items()}
        assert found == {lane: cells for lane, cells in listed.items() if lane[0] == source}
    await store.close()


async def test_windows_are_read_once_for_all_who_ask(tmp_path: Path) -> None:
    """They are not there at once, are those of the command once they are, and are not read again at every question."""
    await forge(tmp_path)
    store = DirectoryStore(tmp_path)
    windows = Windows(store, SystemClock())
    assert not (await windows.found(0)).ready
    found = await windows.found(60)
    assert (found.ready, found.damage) == (True, "")
    (database, _) = found.sources
    assert [gap.reason for gap in database.gaps] == ["slot_lost"]
    assert database.drill is not None
    assert await windows.found(0) is found
    await windows.stop()
    await store.close()


@pytest.mark.parametrize("seconds", [0.0, 60.0])
async def test_what_was_not_reached_is_said(tmp_path: Path, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """In no time only a part is counted, and it is told from when on it is not; the next question goes on."""
    await forge(tmp_path)
    shutil.rmtree(tmp_path / HISTORY)
    monkeypatch.setattr("archiver.timeline.counting.MOST_SECONDS", seconds)
    store = DirectoryStore(tmp_path)
    with KeptSegments() as kept:
        counter = Counter(store, kept, SystemClock())
        first = await counter.counted(60)
        assert {each.source for each in first.uncounted} == ({"db", "kube"} if not seconds else set())
        second = await counter.counted(60)
        if not seconds:
            assert min(each.since for each in second.uncounted) > min(each.since for each in first.uncounted)
        await counter.stop()
    await store.close()
