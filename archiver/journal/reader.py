"""Segments -> runs, in order, with every check; and places in the journal by bisection over headers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from archiver.errors import Corrupt
from archiver.journal import segment as form
from archiver.journal.boundary import Boundary, Retired, newest_boundary
from archiver.journal.chain import VOID_REACH, End, follow, valid_among
from archiver.journal.changed_marks import ChangedMarks, MarksElsewhere
from archiver.journal.extent import Extent
from archiver.journal.hinted_search import around, middle_of
from archiver.journal.identity import Identity, require_identity
from archiver.journal.keys import segment_key
from archiver.journal.last_segment import last_segment
from archiver.journal.parts import Offload
from archiver.journal.whole_segments import WholeSegments

if TYPE_CHECKING:
    from archiver.journal.entry import Placed, SourceMark
    from archiver.journal.kept_segments import KeptSegments
    from archiver.store.protocol import Store

_HEADER_GUESS = 8192
_CACHED_HEADERS = 4096
_BAD_LIMIT = 64
"""Segments that a search passes over because nothing can be read of them."""
_NOISE_LIMIT = 16
"""Segments at the journal's end that may be unreadable before nothing can be said without them."""


class Reader:
    """Reads an archive; never writes. Safe beside a living writer: what is there never changes.

    Every method raises ``Invalid`` when there is no archive, ``Corrupt`` for stored bytes that are not what was written,
    ``Unavailable`` when the store does not answer. Cancellation leaves nothing behind.

    Segments that were retired are none, whatever stands under their numbers: what asks for one by its number is told ``Retired``, and
    nothing is read across them. Which ones these are is looked up once.
    """

    def __init__(
        self,
        store: Store,
        *,
        ahead: int = 3,
        kept: KeptSegments | None = None,
        packs: bool = True,
        offload: Offload = asyncio.to_thread,
        known: int = -1,
    ) -> None:
        """``ahead``: how many large segments are read before they are asked for; each may take ``segment_bytes`` twice in memory.

        Of small ones, more are read ahead in the same room. Larger ones, which hold an entry of that size, are read one at a time.
        ``kept``: where segments are kept that were walked over, so that walking over them again asks the store for nothing.
        ``packs``: walks over many segments take small ones from packs that prove themselves. Whoever writes, deletes or judges the segments
        themselves reads without.
        ``known``: the number of a segment that is there, from which the end is looked for.
        """
        self.store = store
        self.offload = offload
        """Where work that takes long goes."""
        self._whole = WholeSegments(store, ahead=ahead, kept=kept, packs=packs, offload=offload)
        self._identity: Identity | None = None
        self._known, self._end = known, -1
        self.fault: Corrupt | None = None
        """Why the segment that ``last`` found may not be the journal's last: a hole, or what cannot be read, stands behind it."""
        self.strays: tuple[str, ...] = ()
        """Objects that ``last`` met behind it and that are no segments."""
        self.hole: Corrupt | None = None
        """A hole that ``last`` saw before it: the journal goes on behind it, and only what needs the hole is lost."""
        self._headers: dict[int, form.SegmentHeader] = {}
        self._boundary: Boundary | None = None
        self._extent: Extent | None = None

    async def identity(self) -> Identity:
        """Which archive this is."""
        if self._identity is None:
            self._identity = await require_identity(self.store)
        return self._identity

    async def boundary(self) -> Boundary | None:
        """Before which segments were retired; ``None``: none ever was."""
        await self.extent()
        return self._boundary

    async def extent(self) -> Extent:
        """Which numbers have a segment."""
        if self._extent is None:
            boundary = await newest_boundary(self.store)
            if boundary is not None and boundary.archive != (await self.identity()).id:
                raise Corrupt(
                    f"the newest boundary of {self.store.url} belongs to archive {boundary.archive}",
                    hint="find out who copied it here, and move it away",
                )
            self._boundary, self._extent = boundary, boundary.extent if boundary is not None else Extent()
        return self._extent

    async def last(self) -> int:
        """Number of the last segment, void or not; -1 for none.

        What cannot be read, or stands behind a hole close to the end, is left to ``fault`` and ``require_end``: who is given a point before
        it needs none. Where many segments stand behind a hole, they are the journal, and it is left to ``hole``.
        """
        found = await last_segment(self.store, self._known, floor=await self._first_known())
        number, fault, self.strays, self.hole = found.number, found.hole, found.strays, None
        if found.beyond >= 0 and await self._goes_on(found.beyond):
            number, fault, self.hole = found.beyond, None, found.hole
        self._known, self.fault = number, None
        noise = 0
        while number >= 0:
            try:
                header = await self._present(number)
                if not isinstance(marks := header.sources, ChangedMarks):
                    break
                if not isinstance(based := await self._base(marks.base), ChangedMarks) or based.fault is None:
                    break
                # What is behind the segment with all marks would begin where nobody knows.
                number, fault = marks.base, based.fault
            except Corrupt as error:
                fault = error
            number, noise = number - 1, noise + 1
            if noise == _NOISE_LIMIT:
                raise fault
        self._end, self.fault = number, fault
        return number

    async def _first_known(self) -> int:
        """A segment that is there, to look for the last one from; -1: none is known."""
        boundary = await self.boundary()
        return boundary.first if boundary is not None else -1

    async def _goes_on(self, last: int) -> bool:
        """Whether the segments up to ``last`` are the archive's, as far as their headers say."""
        try:
            return all([await self._head(number) is not None for number in range(last - VOID_REACH, last + 1)])
        except Corrupt:
            return False

    async def require_end(self) -> None:
        """``Corrupt`` when the journal's end is not known: see ``fault``. Looks again."""
        await self.last()
        if self.fault is not None:
            raise self.fault

    async def tail(self) -> form.SegmentHeader | None:
        """Header of the newest valid segment up to ``last``; ``None`` when there is none. Only headers are read and believed.

        ``Corrupt`` when there is none for damage; otherwise what is damaged behind it is left to ``fault``.
        """
        await self.identity()
        tail = await self.valid_before(await self.last() + 1)
        if tail is None and self.fault is not None:
            raise self.fault
        return tail

    async def end(self) -> End:
        """The journal's state after its newest valid segment, which is read whole and checked. ``End.segment`` is -1 when there is none.

        ``Corrupt`` when the end is not known.
        """
        identity = await self.identity()
        tail = await self.tail()
        if self.fault is not None:
            raise self.fault
        if tail is None:
            return End(identity.id)
        segment = await self.segment(tail.number)
        if segment is None:
            raise form.CorruptSegment(tail.number, "it was there and is gone")
        return await self.state_after(segment)

    async def state_after(self, segment: form.Segment) -> End:
        """The journal's state after a valid segment that was read whole. ``Corrupt`` when its marks are based on one that is not as it was
        written.
        """
        end = await self._after(segment.header, segment.footer)
        if isinstance(end.sources, ChangedMarks) and end.sources.fault is not None:
            raise end.sources.fault
        return end

    async def _after(self, header: form.SegmentHeader, footer: form.SegmentFooter) -> End:
        """The state after a valid segment, from its header as it is stored."""
        marks = header.sources
        return End.after(header, footer, await self._base(marks.base, proved=True) if isinstance(marks, ChangedMarks) else None)

    async def _base(self, number: int, *, proved: bool = False) -> Mapping[str, SourceMark]:
        """The marks that segment ``number`` carries: all. ``ChangedMarks`` with a fault when it cannot be read.
        ``proved``: by its footer.
        """
        try:
            known = None if proved else self._headers.get(number)
            if known is None:
                found = await self._head(number)
                if found is None:
                    raise form.CorruptSegment(number, "it is missing, and later segments have only the marks that changed since")
                if proved:
                    form.check_chain(*found, await self._whole.footer(number))
                known = self._headers[number] = found[0]
            if isinstance(known.sources, ChangedMarks):
                raise form.CorruptSegment(number, "it does not have all marks although later segments say so")
        except Corrupt as fault:
            return ChangedMarks(number, {}, fault)
        return known.sources

    async def marks_of(self, number: int) -> int:
        """The segment that has all marks of segment ``number``, which must be there: that one, or one before it in its session."""
        header = await self._plain(number)
        if header is None:
            raise form.CorruptSegment(number, "it is missing")
        return header.sources.base if isinstance(header.sources, ChangedMarks) else number

    async def with_marks(self, header: form.SegmentHeader) -> form.SegmentHeader:
        """The header of a segment that was read, with all marks that can be known: one header more at most."""
        marks = header.sources
        if not isinstance(marks, ChangedMarks) or marks.fault is not None:
            return header
        return msgspec.structs.replace(header, sources=marks.within(await self._base(marks.base)))

    async def header(self, number: int) -> form.SegmentHeader | None:
        """Header of segment ``number``, void or not, with the marks of all sources; ``None`` when there is no such segment. Hashes are not
        checked.

        What stands behind a ``fault`` is no segment. Where the segment with all marks cannot be read, asking for one that did not change
        since is ``Corrupt``.
        """
        header = await self._plain(number)
        return None if header is None else await self.with_marks(header)

    async def _plain(self, number: int) -> form.SegmentHeader | None:
        """``header`` as it is stored."""
        if self._is_behind_fault(number) or number not in await self.extent():
            return None
        if (known := self._headers.get(number)) is not None:
            return known
        found = await self._head(number)
        if found is None:
            return None
        if len(self._headers) >= _CACHED_HEADERS:
            self._headers.clear()
        self._headers[number] = found[0]
        return found[0]

    async def _head(self, number: int) -> tuple[form.SegmentHeader, bytes] | None:
        start = await self.store.get(segment_key(number), 0, _HEADER_GUESS)
        if start is None:
            return None
        needed = form.header_end(start, number)
        if len(start) == _HEADER_GUESS < needed:
            start = await self.store.get(segment_key(number), 0, needed) or b""
        header, head = form.decode_header(start, number)
        archive = (await self.identity()).id
        if header.archive != archive:
            raise form.CorruptSegment(number, f"it belongs to archive {header.archive}, this one is {archive}")
        return header, head

    async def segment(self, number: int) -> form.Segment | None:
        """The whole segment ``number``, void or not, checked alone; ``None`` when there is no such segment."""
        await self._require(number)
        return await self._whole.segment(number)

    async def chain_after(self, number: int) -> bytes:
        """The chain hash after segment ``number``, as its footer says, not a pack. ``Corrupt`` when it is missing or cannot be read."""
        return await self._whole.chain_after(number)

    async def read(self, first: int = 0, *, last: int | None = None) -> AsyncGenerator[Placed]:
        """The runs of all valid segments from ``first`` to ``last``, both included, in order; without ``last`` to the journal's end.

        Nothing of a segment is given out before all of it is checked, alone and against the one before. A missing segment
        is the end, or ``Corrupt`` when another stands behind it. With ``last``, a ``fault`` that is known is the end too.
        """
        async with aclosing(self.walk(first, last=last)) as steps:
            async for segment, valid in steps:
                if valid:
                    for placed in segment.placed():
                        yield placed

    async def walk(
        self, first: int = 0, *, last: int | None = None, start: End | None = None, expected: int = -1
    ) -> AsyncGenerator[tuple[form.Segment, bool]]:
        """``read`` by whole segments, void ones too: (segment, whether it is valid).

        ``start``: the state before ``first``, if known. ``expected``: up to where segments are thought to be; without ``last`` not much is
        asked for behind it.
        """
        await self._require(first)
        if first > 0 and start is None and not await self._is_there(first - 1) and first > await self.last():
            if self.fault is not None:
                raise self.fault
            return
        end = start or await self.before(first)
        if last is not None and self._is_behind_fault(last):
            last = self._end
        stop = (await self.extent()).end_of_run(first)
        until = last if stop is None or (last is not None and last <= stop) else stop
        async with aclosing(self._whole.run(first, until, known=max(self._end, expected))) as segments:
            async for segment in segments:
                after = follow(end, segment)
                end = after or end
                yield segment, after is not None
        if until != last and stop is not None:
            # Nothing is read across what was retired: it would be as if nothing had happened there.
            await self._require(stop + 1)

    async def before(self, number: int) -> End:
        """The journal's state after the last valid segment before ``number``, as its header and footer say.

        When that one is bad, as segment ``number`` says: then nothing proves that it continues what was before, and what is behind can be
        read all the same.
        """
        extent = await self.extent()
        if extent.starts_run(number):
            return await self._before_run(number)
        try:
            proved = await self._proved_before(number)
        except Corrupt:
            unproved = await self.resumed(number)
            if unproved is None:
                raise
            return unproved
        if all(before in self._headers for before in range(max(0, number - VOID_REACH - 1), number) if before in extent):
            return proved
        header = await self._plain(number) if await self._is_there(number) else None
        if header is not None and header.epoch > proved.epoch and header.session < proved.segment:
            # The fence that voids what stands before could not be read.
            return await self.resumed(number) or proved
        return proved

    async def _before_run(self, number: int) -> End:
        """The state before a segment whose predecessor was retired."""
        await self._require(number)
        if self._boundary is not None and number == self._boundary.first:
            return self._boundary.end
        found = await self.resumed(number)
        if found is None:
            raise form.CorruptSegment(number, "it was kept and cannot be read")
        return found

    async def _require(self, number: int) -> None:
        """``Retired`` when segment ``number`` was."""
        if number not in await self.extent() and self._boundary is not None:
            raise Retired(f"segment {number}", self._boundary)

    async def resumed(self, number: int) -> End | None:
        """The state that segment ``number`` says it continues. ``None`` when it cannot be read, or was voided by a fence before it."""
        try:
            header = await self._plain(number)
        except Corrupt:
            return None
        if header is None:
            return None
        for later in range(number + 1, number + VOID_REACH + 1):
            try:
                following = await self._plain(later)
            except Corrupt:
                continue
            if following is not None and following.epoch > header.epoch and following.session < number:
                return None
        marks, base, based = header.sources, -1, header.sources
        if isinstance(marks, ChangedMarks):
            base, based = marks.base, await self._base(marks.base)
            marks = marks.within(based)
        return End(header.archive, number - 1, header.epoch, header.session, header.first, header.prev, header.time - 1, marks, base, based)

    async def _is_there(self, number: int) -> bool:
        try:
            return await self._plain(number) is not None
        except Corrupt:
            return False

    async def _proved_before(self, number: int) -> End:
        identity = await self.identity()
        header = await self._valid_before(number)
        if header is None:
            return End(identity.id)
        found = await self._head(header.number)
        if found is None:
            raise form.CorruptSegment(header.number, "it was there and is gone")
        footer = await self._whole.footer(header.number)
        form.check_chain(*found, footer)
        return await self._after(found[0], footer)

    async def bisect(self, predicate: Callable[[form.SegmentHeader], bool], *, near: bool = False, hint: int | None = None) -> int:
        """Number of the first valid segment whose header satisfies ``predicate``; one past the last segment's when none does.

        ``predicate`` must be monotonic over valid segments: false, …, false, true, …, true. About log2(segments) + 5 ranged GETs, twice as
        many where it asks for marks that segments do not carry. ``hint``: a segment that may be near the place. Then it takes as many as
        its distance from there asks for, however long the journal is; one that is wrong costs no more than twice as many.
        Headers that cannot be read are passed over. ``Corrupt`` when the place may be one of them; with ``near`` the next one that can be
        read is the answer then.
        """
        number, doubt = await self._search(predicate, hint)
        if doubt is not None and not near:
            raise doubt
        return number

    async def _search(self, predicate: Callable[[form.SegmentHeader], bool], hint: int | None = None) -> tuple[int, Corrupt | None]:
        """``bisect``, with the last segment before the place that cannot be read, and so may be the place."""
        last = await self.last()
        extent = await self.extent()
        void: set[int] = set()
        bad: dict[int, Corrupt] = {}
        failures = 0
        while True:
            low, high = -1, last + 1
            if hint is not None and not void:
                low, high = await around(extent, lambda each: self._judged(predicate, each), hint, last)
            while (middle := middle_of(extent, low, high, void | bad.keys())) is not None:
                try:
                    holds = await self._judged(predicate, middle)
                except Corrupt as error:
                    failures += 1
                    if failures > _BAD_LIMIT:
                        raise
                    # Of one with all marks that is bad, those behind it say nothing more up to here.
                    since = error.number if isinstance(error, form.CorruptSegment) and low < error.number < middle else middle
                    bad |= dict.fromkeys(range(since, middle + 1), error)
                    continue
                if holds:
                    high = middle
                else:
                    low = middle
            # A void segment can mislead the search only by ending up on one side of the place found.
            headers = await self._window(low - VOID_REACH, min(high, last))
            between = [number for number in bad if low < number < high]
            found = {header.number for header in headers} - {header.number for header in valid_among(headers)}
            if found <= void:
                return high, bad[max(between)] if between else None
            void |= found

    async def _judged(self, predicate: Callable[[form.SegmentHeader], bool], number: int) -> bool:
        header = await self._present(number)
        try:
            return predicate(header)
        except MarksElsewhere:
            return predicate(await self.with_marks(header))

    async def find_seq(self, seq: int, *, hint: int | None = None) -> int:
        """Number of the segment that holds entry ``seq``; one past the last segment's when the journal ends before it. ``Retired``.
        ``hint`` as of ``bisect``.
        """
        number, doubt = await self._search(lambda header: header.first + header.count > seq, hint)
        extent = await self.extent()
        if number in extent and extent.starts_run(number) and self._boundary is not None:
            found = await self._plain(number)
            if found is not None and seq < found.first:
                raise Retired(f"entry {seq}", self._boundary)
        if doubt is not None and ((header := await self._plain(number)) is None or header.first > seq):
            raise doubt
        return number

    async def valid_before(self, number: int) -> form.SegmentHeader | None:
        """Header, as ``header`` gives it, of the last valid segment before ``number`` that was not retired, which must be readable.
        ``None``: there is none.
        """
        header = await self._valid_before(number)
        return None if header is None else await self.with_marks(header)

    async def _valid_before(self, number: int) -> form.SegmentHeader | None:
        last = (await self.extent()).before(number)
        valid = valid_among(await self._window(last - VOID_REACH, last))
        return valid[-1] if valid else None

    async def _window(self, first: int, last: int) -> list[form.SegmentHeader]:
        """The headers from ``first`` to ``last``, without those up to the last one before ``last`` that cannot be read."""
        extent = await self.extent()
        numbers = [extent.number(place) for place in range(extent.place(max(0, first)), extent.place(last + 1))]
        if unknown := [number for number in numbers if number not in self._headers]:
            await asyncio.gather(*map(self._present, unknown), return_exceptions=True)
        found: list[form.SegmentHeader] = []
        for number in reversed(numbers):
            try:
                found.append(await self._present(number))
            except Corrupt:
                if number == last:
                    raise
                break
        return found[::-1]

    def _is_behind_fault(self, number: int) -> bool:
        return self.fault is not None and number > self._end

    async def _present(self, number: int) -> form.SegmentHeader:
        header = await self._plain(number)
        if header is None:
            raise form.CorruptSegment(number, "it is missing")
        return header
