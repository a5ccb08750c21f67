"""Everything that changed between two points, as it streams out of the journal.

    points -> where each source begins, as a restore to the earlier point does -> runs -> changes of each source -> one order -> a selection

The order is the journal's: a transaction stands where its commit was received, an object's change where it was. Of one source that is the
order in which things happened, but for changes that came late; across sources it is the order in which the archiver heard of them.
Memory does not grow with the span: runs are worked off in batches, large transactions are put aside on disk, and of rows and objects the
newest ``KNOWN_BYTES`` each are known.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from archiver.clock import to_text
from archiver.errors import Invalid
from archiver.history.row_states import State
from archiver.history.span.beginnings import begin_cluster, begin_database, copied_rows
from archiver.history.span.bounds import Bounds, Mark, Told
from archiver.history.span.changes import OBJECT, Change
from archiver.history.span.database_changes import DatabaseBeginning, DatabaseChanges
from archiver.history.span.known_values import KnownValues
from archiver.history.span.object_changes import BACKLOG, KnownState, StreamBeginning, StreamChanges
from archiver.journal.clock_doubts import clock_doubts
from archiver.journal.entry import Kind, Placed, SourceMark
from archiver.journal.record_reader import read_record
from archiver.journal.records import ClockStep
from archiver.journal.segment import CorruptSegment, SegmentHeader
from archiver.journal.spans import Span, read_spans
from archiver.kubernetes.stream_name import StreamName
from archiver.postgres.lsn import parse_position
from archiver.replay.postgres.plan.point_location import require_mark
from archiver.replay.postgres.write.spill_file import SpillFile
from archiver.suggestions import table_hint

if TYPE_CHECKING:
    from archiver.history.span.request_makers import RequestMakers
    from archiver.history.span.selection import Selection
    from archiver.journal.reader import Reader
    from archiver.journal.segment import SegmentHeader
    from archiver.replay.points import Point

_BATCH_BYTES = 4 << 20
_SHOWN = 20
"""Notes, or gaps, of one sort."""


class SpanLog:
    """One answer. ``changes`` first; what is not known of the span is there when they have ended."""

    def __init__(self, reader: Reader, selection: Selection, bounds: Bounds, makers: RequestMakers | None = None) -> None:
        """``bounds``: resolved; without an end the answer goes on as the journal grows. ``makers``: of the one cluster asked about."""
        self.gaps: list[str] = []
        """What is not known of the span, for people."""
        self.notes: list[str] = []
        """What should be known about the answer."""
        self._reader, self._selection, self._bounds, self._makers = reader, selection, bounds, makers
        self._nobody = 0
        """Changes of objects of which the audit log does not say who made them."""
        self._rows: KnownValues[State] = KnownValues()
        self._objects: KnownValues[KnownState] = KnownValues()
        self._databases: dict[str, DatabaseChanges] = {}
        self._streams: dict[str, StreamChanges] = {}
        self._unread: list[str] = []
        """Of what is asked for, at most ``_SHOWN``."""
        self._more_unread = 0
        self._segments: dict[str, int] = {}
        """Where the reading of each begins."""

    async def changes(self, more: Callable[[], Awaitable[object]] | None = None) -> AsyncGenerator[Change]:
        """In the journal's order. ``more``: waits a while, after which the journal is looked at again; without it the journal's end is one.

        Raises ``Invalid`` for a source or a kind that there is not, and for an LSN of several sources; errors as of ``Reader``.
        """
        tail = await self._reader.tail()
        if tail is None:
            raise Invalid("the journal is empty", hint="start `archiver run` and wait for the first baseline")
        await self._begin(tail)
        last = await self._last(tail)
        spans = [Span(first, last) for first in self._segments.values() if first <= last]
        async for change in self._told(read_spans(self._reader, spans)):
            yield change
        while self._bounds.end is not None and last < tail.number and self._wants_more(tail):
            # What was received behind a time may tell of before it.
            last += 1
            async for change in self._told(self._reader.read(last, last=last)):
                yield change
        while more is not None:
            await more()
            newest = await self._reader.last()
            if newest > last:
                async for change in self._told(self._reader.read(last + 1, last=newest)):
                    yield change
                last = newest
        await self._judge(tail)

    # Where to begin and to end.

    async def _begin(self, tail: SegmentHeader) -> None:
        known = sorted({name.partition("/")[0] for name in tail.sources})
        for name in sorted(self._selection.sources - set(known)):
            raise Invalid(f"the archive has no source {name!r}", hint=f"its sources: {', '.join(known)}")
        databases, clusters = self._chosen(tail)
        lsns = [point for point in self._bounds if point is not None and point.kind == "lsn"]
        if lsns and (clusters or len(databases) != 1):
            raise Invalid(
                f"{lsns[0].text!r} is a place in one database, and {len(databases) + len(clusters)} sources are asked about",
                hint="choose one database with --source, or give a time, an entry number, or `latest`",
            )
        if self._makers is not None and len(clusters) != 1:
            raise Invalid(
                f"an audit log is of one cluster, and {len(clusters)} are asked about: {', '.join(sorted(clusters)) or 'none'}",
                hint="choose it with --source",
            )
        for point in lsns:
            require_mark(tail, databases[0], point)
        start = self._bounds.start
        for source in databases:
            await self._begin_database(tail, source, start)
        for source, names in clusters.items():
            found = await begin_cluster(self._reader, tail, source, names, start)
            for name, each in found.items():
                wanted = self._selection.object
                self._streams[name] = StreamChanges(
                    name, each.beginning, self._objects, wanted=wanted, objects=each.objects.items(), bounds=self._bounds
                )
                self._segments[name] = each.beginning.segment

    def _chosen(self, tail: SegmentHeader) -> tuple[list[str], dict[str, list[str]]]:
        """Databases, and streams by cluster."""
        databases, clusters, seen = list[str](), dict[str, list[str]](), set[str]()
        for name in sorted(tail.sources):
            if not self._selection.source(name.partition("/")[0]):
                continue
            if "/" not in name:
                databases += [name] if self._selection.rows else []
                continue
            seen.add(_kind(name))
            if self._takes(name):
                clusters.setdefault(name.partition("/")[0], []).append(name)
        self._require_fitting(tail)
        for kind in sorted(self._selection.kinds):
            if not any(kind in (each, each.partition(".")[0]) for each in seen):
                raise Invalid(f"the archive never saw resource {kind}", hint=f"it saw: {', '.join(sorted(seen)) or 'none'}")
        return databases, clusters

    def _require_fitting(self, tail: SegmentHeader) -> None:
        """``Invalid`` when something is said of rows or of objects, and no source that is asked about has any."""
        asked = {name.partition("/")[0]: "/" in name for name in tail.sources if name and self._selection.source(name.partition("/")[0])}
        has_objects, has_rows = True in asked.values(), False in asked.values()
        for what, option in self._selection.of_one_sort():
            if not (has_objects if what == "objects" else has_rows):
                raise Invalid(
                    f"{option} is about {what}, and no source that is asked about has any: {', '.join(sorted(asked)) or 'none'}",
                    hint=f"leave {option} out, or name another --source",
                )

    def _takes(self, stream: str) -> bool:
        scope = StreamName.parse(stream).namespace
        return self._selection.kind(_kind(stream)) and (not scope or not self._selection.namespaces or scope in self._selection.namespaces)

    async def _begin_database(self, tail: SegmentHeader, source: str, start: Point | None) -> None:
        found = await begin_database(self._reader, tail, source, start)
        changes = self._database(source, found.beginning)
        self._segments[source] = found.beginning.segment
        if found.rows is None:
            self.gaps.append(f"{source}: it has no complete baseline yet")
            return
        if found.too_late and start is not None and start.kind != "entry":
            self.gaps.append(f"{source}: nothing is known of it before {to_text(found.beginning.taken)}, its first baseline")
        tables = changes.tables or {}
        keys = {oid: each.key for oid, each in tables.items() if each.mode == "key" and changes.is_wanted(oid)}
        async with aclosing(copied_rows(self._reader, found.rows, keys, self._rows.room // 4)) as rows:
            async for oid, each in rows:
                for key, row in each:
                    changes.remember(oid, key, row)

    def _database(self, source: str, beginning: DatabaseBeginning) -> DatabaseChanges:
        chosen = self._selection
        made = DatabaseChanges(source, beginning, self._rows, wanted=chosen.table, keyed=chosen.row_of, spill=SpillFile())
        self._databases[source] = made
        return made

    async def _last(self, tail: SegmentHeader) -> int:
        """The first segment behind which nothing is asked for, but for what came late."""
        end = self._bounds.end
        if end is None:
            return tail.number
        if end.kind == "entry":
            return min(tail.number, await self._reader.find_seq(end.number))
        last = -1
        for name in [*self._databases, *self._streams]:

            def beyond(header: SegmentHeader, name: str = name) -> bool:
                mark = header.sources.get(name, SourceMark())
                if end.kind == "lsn":
                    return parse_position(mark.position) > end.number
                return max(mark.observed, mark.changed if name in self._databases else 0) > end.number

            last = max(last, await self._reader.bisect(beyond, near=True))
        return min(tail.number, last)

    def _wants_more(self, tail: SegmentHeader) -> bool:
        end = self._bounds.end
        if end is None or end.kind != "time":
            return False
        if any(not each.is_known_until(end.number) for each in self._databases.values()):
            return True
        for name, each in self._streams.items():
            if tail.sources[name].observed > each.observed:
                waits = each.resumed > end.number and each.observed - each.resumed <= BACKLOG
                if each.observed <= end.number or each.listing or waits:
                    return True
        return False

    # Runs -> changes.

    async def _told(self, runs: AsyncGenerator[Placed]) -> AsyncIterator[Change]:
        async with aclosing(runs):
            batch, size = list[Placed](), 0
            async for placed in runs:
                batch.append(placed)
                size += len(placed.run.data) + len(placed.run.lengths)
                if size >= _BATCH_BYTES:
                    for change in self._worked_off(batch):
                        yield change
                    batch, size = [], 0
            for change in self._worked_off(batch):
                yield change

    def _worked_off(self, batch: list[Placed]) -> Iterator[Change]:
        """The changes that a batch completes. All that it gives must be taken."""
        mine: dict[str, list[Placed]] = {}
        others: list[Placed] = []
        for placed in batch:
            source = placed.run.source
            if not source or "/" in source:
                others.append(placed)
            elif source in self._databases or (self._selection.rows and self._selection.source(source)):
                mine.setdefault(source, []).append(placed)
        each = [self._of_database(name, runs) for name, runs in mine.items()]
        for told in heapq.merge(*each, self._of_objects(others), key=lambda told: told.order):
            if self._bounds.holds(told.mark) and self._selection.shows(told.change, attributed=told.attributed):
                self._note_unread(told)
                yield told.change if self._makers is None else self._attributed(told, self._makers)

    def _attributed(self, told: Told, makers: RequestMakers) -> Change:
        change = told.change
        if change.operation not in OBJECT:
            return change
        user, doubt = makers.user(told)
        self._nobody += not user
        return (
            msgspec.structs.replace(change, user=user, detail="; ".join(filter(None, (change.detail, doubt)))) if user or doubt else change
        )

    def _note_unread(self, told: Told) -> None:
        """What cannot be read of what is asked for is not known, as in a restore."""
        asks_who = bool(self._selection.managers) and not told.attributed
        if not told.unread and not asks_who:
            return
        change = told.change
        what = told.unread or f"who made the change of entry {change.entry} is not known: what it was before cannot be read"
        if len(self._unread) < _SHOWN:
            self._unread.append(f"{change.source}: {change.what}: {what}")
        else:
            self._more_unread += 1

    def _of_database(self, source: str, runs: Iterable[Placed]) -> Iterator[Told]:
        changes = self._databases.get(source) or self._database(source, DatabaseBeginning())
        for placed in runs:
            yield from changes.feed(placed)
        yield from changes.flush()

    def _of_objects(self, runs: Iterable[Placed]) -> Iterator[Told]:
        for placed in runs:
            name = placed.run.source
            if not name:
                yield from _clock(placed)
                continue
            stream = self._streams.get(name)
            if stream is None:
                if not self._selection.source(name.partition("/")[0]) or not self._takes(name):
                    continue
                stream = StreamChanges(name, StreamBeginning(), self._objects, wanted=self._selection.object, bounds=self._bounds)
                self._streams[name] = stream
            yield from stream.feed(placed)

    # What is not known.

    async def _judge(self, tail: SegmentHeader) -> None:
        bounds = self._bounds
        names = set[str]().union(*(each.names for each in self._databases.values()))
        for table in sorted(self._selection.tables - names):
            raise Invalid(f"nothing was heard of a table {table} up to the end of that time", hint=table_hint(table, names))
        end = bounds.end
        for source, database in self._databases.items():
            self.gaps += [f"{source}: {text}" for text in database.doubts(bounds)]
            if end is not None and end.kind == "time" and not database.is_known_until(end.number):
                self.gaps.append(f"{source}: what it committed is known up to {to_text(max(database.newest, database.heard))}")
            partly = sorted(name for name in database.partly if self._selection.table(name))
            self.notes += [f"{source}: table {name}: {database.partly[name]}" for name in partly[:_SHOWN]]
            if len(partly) > _SHOWN:
                self.notes.append(f"{source}: {len(partly) - _SHOWN} more tables of which not everything is captured")
        for name, stream in self._streams.items():
            self.gaps += [f"{name}: {each.text}" for each in stream.unknown.reaching(bounds)]
            if stream.doubtful:
                self.gaps.append(
                    f"{name}: of {len(stream.doubtful)} changes that came late, since {to_text(min(stream.doubtful))}, it cannot be told on"
                    " which side of the asked time they happened"
                )
            for pause in stream.pauses:
                late = f"{pause.changes} changes came late; they count as of when they happened, by what the objects say of themselves"
                told = late if pause.changes else "nothing came late"
                self.notes.append(f"{name}: nobody watched from {to_text(pause.since)} to {to_text(pause.until)}; {told}")
        self.gaps += self._unread
        if self._more_unread:
            self.gaps.append(f"{self._more_unread} more changes of objects cannot be read; their lines say so")
        if self._nobody:
            self.notes.append(
                f"of {self._nobody} changes of objects the audit log does not say for certain who made them: no request in it can have,"
                " those of several users can, or its level does not tell what a request made"
            )
        # To an entry nothing is missing before it: it was not received yet.
        by_time = bounds.start is not None and bounds.start.kind == "time"
        for source in sorted({name.partition("/")[0] for name in self._streams} if by_time else ()):
            begun = [stream.begun for name, stream in self._streams.items() if name.startswith(f"{source}/")]
            lists = [mark for mark in begun if mark is not None and bounds.holds(mark)]
            if lists and len(lists) == len(begun):
                self.gaps.append(
                    f"{source}: nothing is known of it before {to_text(min(mark.time for mark in lists))}, its first complete list"
                )
        for point in bounds:
            if point is not None and point.kind == "time":
                await self._judge_time(tail, point.number)
        if self._rows.full or self._objects.full:
            self.notes.append(
                f"more rows or objects changed than the {self._rows.most_bytes >> 20} MiB of each that are remembered: what others were"
                " before is shown as not known"
            )

    async def _judge_time(self, tail: SegmentHeader, point: int) -> None:
        try:
            doubts = await clock_doubts(self._reader, tail, point)
        except CorruptSegment as error:
            why = f"segment {error.number} cannot be read ({error.reason})"
            self.notes.append(f"{why}: it would tell whether the archiver's clock was set near the asked time")
            return
        self.gaps += [doubt.text for doubt in doubts if not doubt.over]
        self.notes += [doubt.text for doubt in doubts if doubt.over]


def _kind(stream: str) -> str:
    name = StreamName.parse(stream)
    return f"{name.plural}.{name.group}"


def _clock(placed: Placed) -> Iterator[Told]:
    if placed.run.kind is not Kind.CLOCK:
        return
    for entry, body in enumerate(placed.run.bodies(), placed.first):
        step = read_record(body, ClockStep, placed)
        if step.step:
            course = "believed from here on" if step.believed else "not believed yet" if step.reason == "set" else "behind the journal"
            detail = f"the archiver's clock was set by {step.step / 1e6:+.3f} s; {course}: times around it may be wrong"
        else:
            detail = "the archiver's clock came back to its course"
        mark = Mark(entry, entry, placed.run.observed)
        yield Told(mark, Change(entry, entry, step.time, "", "clock", detail=detail))
