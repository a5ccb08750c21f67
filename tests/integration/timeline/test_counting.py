"""What is counted of an archive does not depend on where it is read, and is what `archiver log` lists."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections import Counter as Tally
from contextlib import suppress
from pathlib import Path

import pytest

from archiver.clock import SystemClock
from archiver.errors import Unavailable
from archiver.history.span.bounds import EVERYTHING
from archiver.history.span.selection import Selection
from archiver.history.span.span_log import SpanLog
from archiver.journal.drill_reports import PREFIX
from archiver.journal.entry import Placed
from archiver.journal.kept_segments import KeptSegments
from archiver.journal.keys import HISTORY, segment_key
from archiver.journal.reader import Reader
from archiver.lake.counts import CHANGES, DELETIONS, Lane
from archiver.maintenance.history_files import write_history
from archiver.store.directory import DirectoryStore
from archiver.timeline.counting import Counted, Counter
from archiver.timeline.tail_counts import TailCounts
from archiver.timeline.windows import Windows
from tests.stories.timeline_archive import forge


class BadStore(DirectoryStore):
    """Cannot read some of its objects."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.bad: tuple[str, ...] = ()
        """What their keys end with."""
        self.refused = 0

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        if self.bad and key.endswith(self.bad):
            self.refused += 1
            raise Unavailable(f"{key} cannot be read")
        return await super().get(key, start, length)


def told(counted: Counted) -> dict[Lane, list[tuple[int, ...]]]:
    assert (counted.problems, counted.uncounted, counted.busy) == ([], [], False)
    return {lane: list(zip(*(each.tolist() for each in cells), strict=True)) for lane, cells in counted.counts.lanes.items()}


async def test_files_and_journal_count_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files up to nine o'clock and the journal behind them, the journal alone, files alone, also where what they count to is damaged or gone,
    and the list: each second has the same counts.
    """
    await forge(tmp_path)
    store = DirectoryStore(tmp_path)
    tally: dict[Lane, dict[int, list[int]]] = {}
    async for change in SpanLog(Reader(store), Selection(), EVERYTHING).changes():
        if change.operation in CHANGES:
            cell = tally.setdefault(Lane(change.source, change.kind or change.table, change.namespace), {}).setdefault(
                change.time // 1_000_000, [0, 0]
            )
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
        with monkeypatch.context() as patched:
            # What stands beside the files is enough.
            patched.setattr("archiver.timeline.counting.open_file", None)
            assert told(await Counter(store, kept, SystemClock()).counted(60)) == listed
        for folder in (tmp_path / HISTORY).glob("*/_counts"):
            first, *others = sorted(folder.iterdir())
            first.write_bytes(first.read_bytes()[:-1] + b"?")
            for each in others[::2]:
                each.unlink()
        assert told(await Counter(store, kept, SystemClock()).counted(60)) == listed
        monkeypatch.setattr("archiver.timeline.counting.MOST_CELLS", 100)
        coarse = await Counter(store, kept, SystemClock()).counted(60)
        assert coarse.counts.resolution == 3600
        assert sum(cells.changes.sum() for cells in coarse.counts.lanes.values()) == sum(
            cell[1] for cells in listed.values() for cell in cells
        )
        monkeypatch.undo()
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


@pytest.mark.parametrize("filed", [False, True])
async def test_nothing_is_counted_twice_after_an_error(tmp_path: Path, *, filed: bool) -> None:
    """A segment or a history file that cannot be read for some questions: it is said from when on that is, and later all counts are right."""
    await forge(tmp_path)
    if not filed:
        shutil.rmtree(tmp_path / HISTORY)
    store = BadStore(tmp_path)
    tail = await Reader(store).tail()
    assert tail is not None
    with KeptSegments() as kept:
        listed = told(await Counter(store, kept, SystemClock()).counted(60))
    with KeptSegments() as kept:
        counter = Counter(store, kept, SystemClock())
        if filed:
            # All was counted in the journal; files have it meanwhile, and not all of them can be read.
            async for _ in write_history(Reader(store), SystemClock()):
                pass
            files = [sorted(each.name for each in (tmp_path / HISTORY / source).glob("*.parquet")) for source in ("db", "kube")]
            assert all(len(each) > 1 for each in files)
            shutil.move(tmp_path / HISTORY, tmp_path / "aside")
            assert told(await counter.counted(60)) == listed
            shutil.move(tmp_path / "aside", tmp_path / HISTORY)
            store.bad = tuple(name for each in files for name in (each[-1], f"{each[-1]}.json.zst"))
        else:
            store.bad = (segment_key(tail.number - 5),)
        for _ in range(3):
            found = await counter.counted(60)
            assert [each.partition(": ")[0] for each in found.problems] == ["db", "kube"]
            assert {each.source for each in found.uncounted} == {"db", "kube"}
            for lane, cells in found.counts.lanes.items():
                known = {cell[0]: cell[1] for cell in listed[lane]}
                assert all(changes <= known[second] for second, changes in zip(cells.seconds.tolist(), cells.changes.tolist(), strict=True))
            if not filed:
                # What stands before it is there.
                assert sum(int(each.changes.sum()) for each in found.counts.lanes.values()) > 100
                assert all(each.since > 0 for each in found.uncounted)
        store.bad = ()
        assert told(await counter.counted(60)) == listed
        await counter.stop()
    await store.close()


async def test_what_ends_in_the_middle_of_a_run_is_of_no_further_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tail that was cancelled while it took a run says so, and the next question counts anew."""
    await forge(tmp_path)
    shutil.rmtree(tmp_path / HISTORY)
    store, begun, go_on = DirectoryStore(tmp_path), asyncio.Event(), threading.Event()
    loop, feed = asyncio.get_running_loop(), TailCounts._feed

    def held(one: TailCounts, placed: Placed) -> None:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait(60)
        feed(one, placed)

    reader = Reader(store)
    tail = await reader.tail()
    assert tail is not None
    one = await TailCounts.begun(reader, "db", None, list(tail.sources))
    assert one is not None
    monkeypatch.setattr(TailCounts, "_feed", held)
    task = asyncio.create_task(one.go_on(reader, tail.number, lambda: False))
    await begun.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    go_on.set()
    assert one.broken
    monkeypatch.setattr(TailCounts, "_feed", feed)
    with KeptSegments() as kept:
        listed = told(await Counter(store, kept, SystemClock()).counted(60))
        counter = Counter(store, kept, SystemClock())
        assert told(await counter.counted(60)) == listed
        for known in counter._sources.values():
            assert known.tail is not None
            known.tail.broken = True
        assert told(await counter.counted(60)) == listed
    await store.close()


async def test_what_is_no_report_of_a_drill_leaves_the_gaps(tmp_path: Path) -> None:
    """It is told, with what to do; and the journal is not read again at each question."""
    await forge(tmp_path)
    (tmp_path / PREFIX / "99999999999999999999.json").write_text("no report")
    store = BadStore(tmp_path)
    windows = Windows(store, SystemClock())
    found = await windows.found(60)
    assert (found.ready, found.damage) == (True, "")
    assert "99999999999999999999.json" in found.problem
    assert found.problem.endswith("; move it away")
    assert [gap.reason for gap in found.sources[0].gaps] == ["slot_lost"]
    assert found.sources[0].drill is None
    assert await windows.found(60) is found
    await windows.stop()
    await store.close()


async def test_a_journal_that_cannot_be_read_through_is_a_problem_and_no_error(tmp_path: Path) -> None:
    """It is told instead of gaps, or beside those that were known; and it is tried again later, not at each question."""
    await forge(tmp_path)
    store, clock = BadStore(tmp_path), LateClock()
    store.bad = (segment_key(3),)
    windows = Windows(store, clock)
    found = await windows.found(60)
    assert (found.ready, found.sources, found.problem) == (True, [], f"{segment_key(3)} cannot be read")
    refused = store.refused
    assert await windows.found(60) is found
    assert store.refused == refused
    store.bad = ()
    clock.late += 3600
    known = await windows.found(60)
    assert (known.problem, len(known.sources)) == ("", 2)
    store.bad = (segment_key(3),)
    clock.late += 3600
    beside = await windows.found(60)
    assert beside.problem
    assert beside.sources == known.sources
    await windows.stop()
    await store.close()


class LateClock(SystemClock):
    """Is ``late`` seconds ahead."""

    late = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.late
