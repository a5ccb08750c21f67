"""The streams that hold one object, folded for that object alone: from history files, and from the journal behind them.

    what a stream says of itself, from its newest complete list on -> what it says of the object since then -> the journal's tail
    -> the same doubts as of a fold of everything

What only other objects tell is left to that fold: there is no answer here then. How late some others' changes came is told by these:
they are folded, too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NamedTuple

from archiver.errors import Corrupt
from archiver.history.stream_of_objects import StreamOfObjects, Unclear
from archiver.journal.boundary import Retired
from archiver.journal.entry import Kind, Placed
from archiver.journal.segment import CorruptSegment
from archiver.journal.spans import Span, read_spans
from archiver.kubernetes.records import Listing
from archiver.kubernetes.stream_state import Key
from archiver.lake.data_file import Wanted
from archiver.lake.history_table import HistoryFiles, open_history, read_records, say_passed_over
from archiver.lake.object_changes import LISTED, NotVerbatim, as_run, object_key, resource_name
from archiver.replay.kubernetes.doubts import OthersNeeded
from archiver.replay.kubernetes.fold import judge_streams, last_before, newest_before, place_of, require_there
from archiver.untrusted import Unreadable, decode_untrusted

if TYPE_CHECKING:
    from archiver.journal.reader import Reader
    from archiver.journal.segment import SegmentHeader
    from archiver.replay.kubernetes.folded_stream import Cut, FoldedStream

_OTHERS = 256
"""Objects that are folded beside the one that is asked for; where more are needed, everything is folded."""
_BACK = 100_000
"""Entries before a list in which the body of what it repeats is looked for first."""
_Record = dict[str, Any]


class _End(NamedTuple):
    """Where a stream is cut."""

    segment: int
    """Nothing of it behind this one is before the cut."""
    entry: int
    """Nor behind this entry."""
    observed: int
    """The newest time at which anything of it was received by then; 0: it had not begun."""
    here: int
    """The same within that segment."""


async def filed_streams(reader: Reader, source: str, names: Collection[str], key: Key, cut: Cut) -> list[FoldedStream] | None:
    """Streams ``names`` of ``source`` at ``cut``, by name, as ``read_streams`` has them, but for objects that are not ``key``.

    ``None`` when files do not tell, and everything is to be folded. Raises ``Retired`` when the cut lies before the boundary.
    """
    tail = await reader.tail()
    history = await open_history(reader, source)
    if tail is None or history is None:
        return None
    await require_there(reader, cut)
    keys = frozenset([key])
    try:
        question = await _Question.of(reader, tail, history, names, cut)
        while len(keys) <= 1 + _OTHERS:
            try:
                return await question.answer(keys)
            except OthersNeeded as more:
                if not more.keys:
                    return None
                keys |= more.keys
    except (Unclear, NotVerbatim, Retired, CorruptSegment):
        # The fold tells what is wrong, if it needs that.
        return None
    except Corrupt as error:
        say_passed_over(source, error)
    return None


class _Question:
    """What does not depend on the objects."""

    def __init__(
        self, reader: Reader, tail: SegmentHeader, history: HistoryFiles, cut: Cut, ends: Mapping[str, _End], own: Sequence[_Record]
    ) -> None:
        self._reader, self._tail, self._history, self._cut, self._ends = reader, tail, history, cut, ends
        self._own = own
        """What the streams say of themselves up to their ends, in order."""
        self._tails: list[Placed] | None = None

    @classmethod
    async def of(cls, reader: Reader, tail: SegmentHeader, history: HistoryFiles, names: Collection[str], cut: Cut) -> _Question:
        """Raises ``Corrupt``."""
        ends = {name: end for name in sorted(names) if (end := await _end(reader, tail, name, cut)).observed}
        own = await _records(reader, history, ends, [""], 0)
        return cls(reader, tail, history, cut, ends, own)

    async def answer(self, keys: frozenset[Key]) -> list[FoldedStream]:
        """For these objects. Raises ``OthersNeeded``, ``Unclear``, ``Corrupt``."""
        begins = {name: self._begin(name) for name in self._ends}
        streams = {name: StreamOfObjects(name, keys) for name in self._ends}
        first = min(begins.values(), default=0)
        told = await self._of_objects(keys, first)
        for record in sorted([*self._own, *told], key=lambda record: int(record["entry"])):
            run = as_run(record)
            if record["entry"] >= begins[record["source"]]:
                if run is None:
                    raise Unclear
                streams[record["source"]].take(Placed(record["entry"], record["segment"], 0, 0, run), record["as_of"])
        newest = self._history.progress.newest
        for placed in await self._tail_runs():
            if placed.run.source in streams:
                end = self._ends[placed.run.source]
                for each in _single(placed, end.entry):
                    streams[placed.run.source].take(each, newest)
            newest = max(newest, placed.run.observed)
        folds = [stream.found(self._ends[name].observed, self._ends[name].here) for name, stream in streams.items()]
        if not folds or not await self._is_proved({name: stream.verified for name, stream in streams.items() if stream.verified}):
            raise Unclear
        listing = {name: stream.listing for name, stream in streams.items() if stream.listing is not None}
        await judge_streams(self._reader, self._tail, folds, listing, self._cut, self._cut.time or await self._time(folds))
        return folds

    def _begin(self, name: str) -> int:
        """The first entry of the newest complete list that files have of a stream; 0: they have none."""
        listings = [record for record in self._own if record["source"] == name and record["operation"] == Kind.CHECKPOINT.name]
        if not listings:
            return 0
        body = listings[-1]["row"].encode()
        try:
            return decode_untrusted(body, Listing, most=len(body)).first
        except Unreadable:
            raise Unclear from None

    async def _of_objects(self, keys: frozenset[Key], first: int) -> list[_Record]:
        """What files have of the objects from entry ``first`` on, each with its body: what a list repeats may stand before it."""
        texts, back = [object_key(*key) for key in sorted(keys)], 0
        while True:
            records = await _records(self._reader, self._history, self._ends, texts, max(0, first - back))
            bodies, missing = dict[tuple[str, str], str](), False
            for record in records:
                of = (record["source"], record["key"])
                if record["operation"] == LISTED and record["row"] is None:
                    row = record["row"] = bodies.get(of)
                    missing = missing or (row is None and record["entry"] >= first)
                elif record["operation"] != Kind.K8S_ABSENT.name and record["row"] is not None:
                    bodies[of] = record["row"]
            if not missing or back >= first:
                return [record for record in records if record["entry"] >= first]
            back = back * 8 or _BACK

    async def _tail_runs(self) -> list[Placed]:
        """The runs of the cluster that stand behind the files."""
        if self._tails is None:
            begin, source = self._history.progress.segment, self._history.progress.source
            spans = [Span(begin, end.segment) for end in self._ends.values() if end.segment >= begin]
            found = list[Placed]()
            async with aclosing(read_spans(self._reader, spans)) as runs:
                async for placed in runs:
                    if placed.run.source.startswith(f"{source}/"):
                        found.append(placed)
            self._tails = found
        return self._tails

    async def _is_proved(self, verified: Mapping[str, int]) -> bool:
        """Whether a checkpoint was folded behind these entries of streams: it has none that is not what they say."""
        if not verified:
            return True
        checkpoint = await newest_before(self._reader, self._tail, self._history.progress.source, self._cut)
        through = {stream.name: stream.through for stream in checkpoint.streams} if checkpoint is not None else {}
        return all(through.get(name, 0) >= entry for name, entry in verified.items())

    async def _time(self, folds: Sequence[FoldedStream]) -> int:
        """When the entry at the cut was received, whatever it is of."""
        cut, reader = self._cut, self._reader
        if not cut.seq or all(self._tail.sources[fold.name].observed <= fold.observed for fold in folds):
            return 0
        place = await place_of(reader, self._tail, cut.seq)
        segment, before = await reader.segment(place), await reader.valid_before(place)
        runs = [placed.run for placed in segment.placed() if placed.first <= cut.seq] if segment is not None else []
        time = max((run.observed for run in runs), default=0)
        earlier = max((mark.observed for mark in before.sources.values()), default=0) if before is not None else 0
        if any(time <= fold.observed < earlier for fold in folds):
            raise Unclear
        return time


async def _records(reader: Reader, history: HistoryFiles, ends: Mapping[str, _End], keys: Sequence[str], first: int) -> list[_Record]:
    """Records under ``keys`` of the streams, in order, each up to the stream's end."""
    names = sorted({resource_name(name) for name in ends})
    last = max((end.entry for end in ends.values()), default=0)
    found = await read_records(reader.store, history.files, Wanted([0], keys, names, first, last))
    ours = [record for record in found if record["source"] in ends and record["entry"] <= ends[record["source"]].entry]
    return sorted(ours, key=lambda record: int(record["entry"]))


async def _end(reader: Reader, tail: SegmentHeader, name: str, cut: Cut) -> _End:
    """Where stream ``name`` is cut. One segment is read."""
    number = await last_before(reader, tail, name, cut)
    before, segment = await reader.valid_before(number), await reader.segment(number)
    mark = before.sources.get(name) if before is not None else None
    if segment is None:
        raise CorruptSegment(number, "it is missing")
    last, here = segment.header.first + segment.header.count - 1, 0
    if cut.seq:
        last = min(last, cut.seq)
    for placed in segment.placed():
        if placed.run.source != name or placed.first > last:
            continue
        if cut.time and placed.run.observed > cut.time:
            last = placed.first - 1
            break
        here = max(here, placed.run.observed)
    return _End(number, last, max(here, mark.observed if mark is not None else 0), here)


def _single(placed: Placed, last: int) -> list[Placed]:
    """The entries of a run up to ``last``, each by itself."""
    run = placed.run
    if (run.kind is Kind.PROGRESS and not any(run.bodies())) or placed.first > last:
        return []
    bodies = list(run.bodies())[: last - placed.first + 1]
    return [
        Placed(
            placed.first + at, placed.segment, placed.epoch, placed.time, type(run).of(run.source, run.kind, [body], observed=run.observed)
        )
        for at, body in enumerate(bodies)
    ]
