"""The one writer of an archive: group commit with one PUT in flight, acknowledgement only of what is durable.

    append -> buffer -> seal (header, chain) -> encode in a thread -> PUT until it is known whose the number is -> durable

Nothing in flight and something buffered: seal at once, as far as the budget of PUTs allows; a segment that is full does not ask the budget,
because waiting could not make it fuller. What is patient (positions of idle streams) waits for company, up to the next heartbeat.
While a PUT is in flight a full segment is sealed and encoded ahead, never sent ahead.
The bytes under a number never change once they were sent; a number that has other bytes ends the writer (``Fenced`` or ``Corrupt``).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec
import structlog

from archiver.clock import STEP_SECONDS
from archiver.errors import ArchiverError, Bug, Unavailable
from archiver.journal.buffer import Buffer
from archiver.journal.chain import End
from archiver.journal.changed_marks import Carrying
from archiver.journal.entry import Kind, Run, SourceMark, advance
from archiver.journal.fencing import intruder, recheck
from archiver.journal.keys import PARTS, segment_key
from archiver.journal.latency import Latencies
from archiver.journal.limits import WriterLimits
from archiver.journal.parts import Offload
from archiver.journal.put_budget import Budget
from archiver.journal.put_once import put_once
from archiver.journal.reader import Reader
from archiver.journal.records import Close
from archiver.journal.segment import SegmentHeader, check_run, encode
from archiver.journal.session import open_session
from archiver.journal.signposts import Signposting
from archiver.waiting import cancel, first_of

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.store.protocol import Store

__all__ = ["Writer", "WriterLimits"]

_INLINE_BYTES = 65536

_log = structlog.get_logger()


class _Sealed(msgspec.Struct, frozen=True):
    data: bytes
    end: End
    taken: int
    """Weight to release."""
    began: float
    """When it was sealed, on the monotonic clock."""
    heard: dict[str, float]
    """By source, when the newest of its runs was received, on the monotonic clock."""


class Writer:
    """Appends entries of all sources to one archive. Made by ``open``; ``run`` must be running for anything to become durable."""

    def __init__(self, store: Store, clock: Clock, instance: str, limits: WriterLimits, end: End, *, offload: Offload) -> None:
        self._store = store
        self._clock = clock
        self._instance = instance
        self._limits = limits
        self._offload = offload
        self._sealed = end
        self._durable = end
        self._confirmed = self._owned = clock.monotonic()
        self._heard: dict[str, float] = {}
        self.commits, self.puts = Latencies(), Latencies()
        """How long segments took from being sealed until they were durable; and each try to create a segment or a part."""
        self._budget = Budget(limits.puts_per_second, limits.put_burst, self._confirmed)
        self._wakeup = asyncio.Event()
        self._buffer = Buffer(limits.buffer_bytes, limits.segment_bytes, end.next, self._wakeup.set)
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._listeners: dict[str, list[Callable[[str], None]]] = {}
        self._in_flight = False
        self._running = False
        self._closing = False
        self._clean = False
        self._carrying = Carrying()
        self._signposting = Signposting(store)
        self._failure: ArchiverError | None = None
        self._ended = asyncio.Event()

    @classmethod
    async def open(
        cls,
        store: Store,
        clock: Clock,
        *,
        instance: str,
        version: str,
        sources: dict[str, str],
        limits: WriterLimits,
        offload: Offload = asyncio.to_thread,
    ) -> Writer:
        """Fence the archive, which is created if it does not exist. ``sources``: source name to kind, for the record.

        Waits, possibly for ever, while another instance writes. Raises ``Fenced``, ``Corrupt`` or ``Unavailable`` as ``open_session`` says.
        ``offload`` runs what takes long without the event loop.
        """
        reader = Reader(store, packs=False, offload=offload)
        end = await open_session(reader, clock, instance=instance, version=version, sources=sources, limits=limits)
        return cls(store, clock, instance, limits, end, offload=offload)

    @property
    def archive(self) -> str:
        """Identity of the archive, 32 hex digits."""
        return self._durable.archive

    @property
    def epoch(self) -> int:
        """Epoch of this session."""
        return self._durable.epoch

    @property
    def marks(self) -> Mapping[str, SourceMark]:
        """Where every source stands in what is durable, those of earlier sessions included. Never changed in place."""
        return self._durable.sources

    @property
    def durable_seq(self) -> int:
        """Number of the newest durable entry; 0 for none."""
        return self._durable.next - 1

    @property
    def durable_segment(self) -> int:
        """Number of the newest durable segment."""
        return self._durable.segment

    @property
    def last_commit(self) -> int:
        """Journal time of the newest durable segment, microseconds. A heartbeat counts: it grows while the store answers."""
        return self._durable.time

    @property
    def age_seconds(self) -> float:
        """Since the newest segment became durable, on the monotonic clock: the wall clock may have been set meanwhile."""
        return self._clock.monotonic() - self._confirmed

    def rpo_seconds(self, source: str) -> float | None:
        """Since what is durable of ``source`` was received, whatever became of the wall clock since; ``None`` when nothing is.

        What an earlier session wrote counts by the time that it wrote, and is not known when that lies ahead of the clock.
        """
        if (heard := self._heard.get(source)) is not None:
            return max(0.0, self._clock.monotonic() - heard)
        mark = self.marks.get(source)
        if mark is None or not mark.observed:
            return None
        age = (self._clock.now() - mark.observed) / 1_000_000
        return max(0.0, age) if age > -STEP_SECONDS else None

    def reader(self) -> Reader:
        """A new reader of this archive: it sees what is durable."""
        return Reader(self._store, packs=False, offload=self._offload, known=self.durable_segment)

    @property
    def buffered_bytes(self) -> int:
        """Bytes appended and not yet durable."""
        return self._buffer.held_bytes

    async def append(self, run: Run, *, patient: bool = False) -> int:
        """Hand in ``run``; the sequence number of its first entry. Not durable on return.

        Order is call order over all tasks. Waits while the buffer is full. Raises what ended the writer once it failed, ``Unavailable``
        once ``close`` was called, ``Bug`` for a run that contradicts itself. When cancelled while it waits, the run may or may not
        have been taken.
        The caller must not change ``run.data`` afterwards, and must never hand in an older position than before (repeated entries: none):
        the journal cannot compare positions.
        ``patient``: the run needs no segment of its own. It becomes durable with what comes next, with the next heartbeat, or when somebody
        waits for it.
        """
        self._check()
        check_run(run)
        if self._closing:
            raise Unavailable("the journal is closing", hint="what was not taken was not acknowledged; its source sends it again")
        place = self._buffer.offer(run, patient=patient)
        return place if isinstance(place, int) else await place

    async def durable(self, seq: int) -> None:
        """Return once every entry up to number ``seq`` is durable. Raises what ended the writer when that comes first."""
        if seq <= self.durable_seq:
            return
        self._check()
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((seq, waiter))
        self._buffer.hurry()
        await waiter

    def on_durable(self, source: str, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call ``callback(position)`` after each durable segment that moved the position of ``source``; the result unsubscribes.

        Called in order, from the event loop, only with positions of which everything before is durable. It must not block; an
        exception from it is logged and changes nothing.
        """
        self._listeners.setdefault(source, []).append(callback)

        def unsubscribe() -> None:
            with contextlib.suppress(ValueError):
                self._listeners[source].remove(callback)

        return unsubscribe

    async def put_part(self, key: str, data: bytes) -> None:
        """Create the object ``key`` beside the segments; durable on return. Retried while the store does not answer and the writer lives.

        ``key`` is made by ``keys.part_key`` with an identity that no other part has: ``Bug`` when it exists with other bytes.
        """
        if not key.startswith(PARTS):
            raise Bug(f"{key} is not the key of a part")
        self._check()
        put = asyncio.create_task(put_once(self._store, self._clock, key, data, patience_seconds=None, tries=self.puts))
        ended = asyncio.create_task(self._ended.wait())
        try:
            await first_of(put, ended)
            if not put.done():
                self._check()
            if await put is not None:
                raise Bug(f"part {key} exists already with other content")
        finally:
            await cancel(put, ended)

    async def run(self) -> None:
        """The commit loop: until ``close``, or raises what ended the writer (``Fenced``, ``Corrupt``, ``Bug``), in all who wait too.

        ``Unavailable`` from the store does not end it: the same bytes are tried again until the answer is known. Cancelled: stops at once.
        """
        if self._running:
            raise Bug("the commit loop runs already")
        self._running = True
        try:
            await self._commit()
            self._clean = True
            self._fail(Unavailable("the journal is closed"))
        except asyncio.CancelledError:
            self._fail(Unavailable("the journal's writer was stopped"))
            raise
        except ArchiverError as error:
            self._fail(error)
            raise
        except Exception as error:
            bug = Bug(
                f"the commit loop failed: {type(error).__name__}", hint="report it with the log; what was not durable was not acknowledged"
            )
            self._fail(bug)
            raise bug from error
        finally:
            await self._signposting.stop()

    async def close(self) -> None:
        """Make everything appended durable, end the session with a CLOSE entry, end ``run``. Raises what ends the writer before that.

        Call it once sources have stopped: ``append`` is refused from now on. Cancellation gives up waiting, not closing.
        """
        if not self._closing and not self._ended.is_set():
            now = self._clock.now()
            place = self._buffer.offer(Run.of("", Kind.CLOSE, [msgspec.json.encode(Close(self._instance, now))], observed=now))
            if not isinstance(place, int):
                place.add_done_callback(lambda future: future.cancelled() or future.exception())
            self._closing = True
            self._wakeup.set()
        if not self._running:
            await self.run()
        await self._ended.wait()
        if not self._clean:
            self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _fail(self, error: ArchiverError) -> None:
        self._failure = error
        self._buffer.fail(error)
        for _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(error)
        self._waiters.clear()
        self._ended.set()

    async def _commit(self) -> None:
        sealed: _Sealed | None = None
        while sealed or await self._due():
            sealed = sealed or await self._seal()
            self._in_flight = True
            ahead = asyncio.create_task(self._seal_ahead())
            try:
                await self._confirm(sealed)
                self._publish(sealed)
                self._in_flight = False
                self._wakeup.set()
                sealed = await ahead
            finally:
                await cancel(ahead)

    async def _due(self) -> bool:
        """Wait for a reason to seal a segment; false: closed, and nothing is left."""
        while True:
            self._wakeup.clear()
            now = self._clock.monotonic()
            if self._closing or self._buffer.full:
                return not self._buffer.empty
            idle = now - self._confirmed
            wait = self._budget.wait(now) if self._buffer.urgent else self._limits.heartbeat_seconds - idle
            if wait <= 0:
                self._budget.take(now)
                return True
            await self._wait(wait)

    async def _wait(self, seconds: float) -> None:
        """Until woken, ``seconds`` at most."""
        tasks = (asyncio.create_task(self._wakeup.wait()), asyncio.create_task(self._clock.sleep(seconds)))
        try:
            await first_of(*tasks)
        finally:
            await cancel(*tasks)

    async def _seal_ahead(self) -> _Sealed | None:
        """The next segment, if it fills up while a PUT is in flight."""
        while self._in_flight:
            if self._buffer.full_segment:
                return await self._seal()
            self._wakeup.clear()
            await self._wakeup.wait()
        return None

    async def _seal(self) -> _Sealed:
        began = self._clock.monotonic()
        runs, taken = self._buffer.take()
        before = self._sealed
        number, following, sources = before.segment + 1, before.next, dict(before.sources)
        for run in runs:
            if run.source:
                sources[run.source] = advance(sources.get(run.source, SourceMark()), run, following, number)
            following += run.count
        header = SegmentHeader(
            archive=before.archive,
            number=number,
            epoch=before.epoch,
            first=before.next,
            count=following - before.next,
            time=max(self._clock.now(), before.time + 1),
            observed_min=min((run.observed for run in runs), default=0),
            observed_max=max((run.observed for run in runs), default=0),
            prev=before.chain,
            sources=self._carrying.carried(sources, runs, number, before.base, before.base_sources),
            session=before.session,
        )
        level = self._limits.compression_level
        data, footer = encode(header, runs, level) if taken <= _INLINE_BYTES else await self._offload(encode, header, runs, level)
        self._sealed = End.after(header, footer, before.base_sources)
        ahead = self._clock.monotonic() - self._clock.now() / 1_000_000
        heard = {run.source: ahead + run.observed / 1_000_000 for run in runs if run.source and run.observed}
        return _Sealed(data, self._sealed, taken, began, heard)

    async def _confirm(self, sealed: _Sealed) -> None:
        began = self._clock.monotonic()
        other = await put_once(
            self._store, self._clock, segment_key(sealed.end.segment), sealed.data, patience_seconds=None, tries=self.puts
        )
        if other is not None:
            raise intruder(other, sealed.end)
        stall = self._limits.stall_seconds
        # Counted from before the last PUT: however long this process stood still at any place since, it shows.
        if self._clock.monotonic() - self._owned > stall or self._clock.now() - self._durable.time > stall * 1_000_000:
            began = self._clock.monotonic()
            await recheck(self._store, self._clock, sealed.end)
        self._owned = began

    def _publish(self, sealed: _Sealed) -> None:
        before, self._durable = self._durable, sealed.end
        self._confirmed = self._clock.monotonic()
        self.commits.add(self._confirmed - sealed.began)
        self._heard |= sealed.heard
        self._signposting.pass_segment(self.durable_segment)
        self._buffer.release(sealed.taken)
        for source, mark in self._durable.sources.items():
            known = before.sources.get(source)
            if mark.position and (known is None or known.position != mark.position):
                self._tell(source, mark.position)
        late: list[tuple[int, asyncio.Future[None]]] = []
        for seq, waiter in self._waiters:
            if seq > self.durable_seq:
                late.append((seq, waiter))
            elif not waiter.done():
                waiter.set_result(None)
        self._waiters = late

    def _tell(self, source: str, position: str) -> None:
        for callback in self._listeners.get(source, [])[:]:
            try:
                callback(position)
            except Exception:  # noqa: BLE001 - one source's mistake must not stop the others
                _log.exception("durable_callback_failed", source=source)
