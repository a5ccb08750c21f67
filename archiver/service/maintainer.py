"""Maintenance while capture runs: looks at the sources now and then, and has a process of its own fold, or write history files, where due.

Nothing of it is on the way of a commit: it has its own connections to the store, and what takes processors and memory is another process,
which gives way; one at a time. Whatever happens to it is told by the log, the status and the metrics, and ends nothing.

    look at each tail -> estimated restore time is half of the objective? -> a process folds one source -> it rests -> look again
                      -> something came since its history files? -> a process adds to them -> they rest -> look again
    a thousand segments came since the newest pack? -> a process packs them
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from archiver.errors import ArchiverError
from archiver.journal.reader import Reader
from archiver.maintenance.cadence import is_due, pause_after
from archiver.maintenance.folded import MOST_ENTRIES, NOTHING_NEW
from archiver.maintenance.packed import SPAN
from archiver.maintenance.tails import Tail, tail_behind
from archiver.service.maintenance_child import TooMuchMemory, in_process
from archiver.service.maintenance_order import Answer, Order
from archiver.store.open import open_store
from archiver.waiting import GrowingPause

if TYPE_CHECKING:
    from collections.abc import Sequence

    from archiver.clock import Clock
    from archiver.settings import Settings

_log = structlog.get_logger()
PROGRAM = (sys.executable, "-m", "archiver.service.maintenance_process")
_FIRST_SECONDS = 5.0
"""Between looks until each source has a tail to look at: whoever starts an archiver wants to see it."""
_LONGEST_PAUSE = 3600.0
LEAST_ENTRIES = 1000
"""Fewer are never tried: one transaction must fit."""
_SEALED_SECONDS = 60.0
"""By then a change stands in the journal, as usual."""
_PACKS = 64
"""Packs before others have their turn."""
_HISTORY_STEPS = 4
"""Steps of history files of one source before others have their turn."""


@dataclass(slots=True)
class Turn:
    """One kind of work for one source: when it is next, and how it went."""

    pause: GrowingPause
    not_before: float
    idle_since: int = -1
    """Nothing was left to do when the source had said this of its newest change."""
    failures: int = 0
    problem: str = ""
    """Why the newest try did nothing; empty when it did."""


@dataclass(slots=True)
class FoldingOf(Turn):
    """How folding stands for one source."""

    most_entries: int = MOST_ENTRIES
    folds: int = 0


@dataclass(slots=True)
class FilingOf(Turn):
    """How history files stand for one source."""

    covered: int = 0
    """The last entry that they cover; 0: not known."""
    newest: int = 0
    """The newest time that the source gave for what they have."""
    records: int = 0
    """Written by this process."""


@dataclass(slots=True)
class PackingOf(Turn):
    """How packs stand, of all sources together. ``idle_since``: the journal's last segment then."""

    packs: int = 0
    """Made by this process."""


@dataclass(slots=True)
class MaintenanceOf:
    """How maintenance stands for one source."""

    folding: FoldingOf
    filing: FilingOf
    tail: Tail | None = None


_FAILED: dict[type[Turn], str] = {FoldingOf: "folding_failed", FilingOf: "history_files_failed", PackingOf: "packing_failed"}


class Maintainer:
    """Maintains one archive, one source at a time. ``run`` until cancelled; ``known`` says how it stands."""

    def __init__(self, settings: Settings, clock: Clock, *, program: Sequence[str] = PROGRAM) -> None:
        self._settings, self._limits, self._clock, self._program = settings, settings.maintenance, clock, program
        self.known: dict[str, MaintenanceOf] = {}
        interval = self._limits.interval_seconds
        self.packing = PackingOf(GrowingPause(interval, _LONGEST_PAUSE, least=1, most=1), clock.monotonic() + interval)

    async def run(self) -> None:
        """Look and work until cancelled. Raises nothing else; on return the process has ended."""
        archive = self._settings.archive
        if not (self._limits.enabled or self._limits.history_files or self._limits.compaction) or archive.url.startswith("memory:"):
            return
        store = await open_store(archive.url, archive.s3)
        try:
            reader = Reader(store)
            while True:
                known = self.known and all(each.tail is not None for each in self.known.values())
                await self._clock.sleep(self._limits.interval_seconds if known else min(_FIRST_SECONDS, self._limits.interval_seconds))
                for source in self._settings.sources:
                    await self._look_after(reader, source)
                if self._limits.compaction and self._clock.monotonic() >= self.packing.not_before:
                    await self._tried("", self.packing, self._pack(reader, self.packing))
        finally:
            await store.close()

    async def _look_after(self, reader: Reader, source: str) -> None:
        """One look at one source, and the work that is due."""
        interval = self._limits.interval_seconds
        of = self.known.get(source)
        if of is None:
            # One that is started again and again does not work each time.
            first = self._clock.monotonic() + interval
            pauses = [GrowingPause(interval, _LONGEST_PAUSE, least=1, most=1) for _ in range(2)]
            of = self.known[source] = MaintenanceOf(FoldingOf(pauses[0], first), FilingOf(pauses[1], first))
        folding, filing = of.folding, of.filing
        if not await self._tried(source, folding if self._limits.enabled else filing, self._look(reader, source, of)):
            return
        if (tail := of.tail) is None:
            return
        due = self._limits.enabled and is_due(tail.size, self._limits.restore_time_objective)
        if due and self._is_turn(folding, tail) and await self._tried(source, folding, self._fold(source, folding, tail)):
            await self._tried(source, folding, self._look(reader, source, of))
        if self._limits.history_files and self._is_turn(filing, tail):
            await self._tried(source, filing, self._file(source, filing, tail))

    def _is_turn(self, turn: Turn, tail: Tail) -> bool:
        return self._clock.monotonic() >= turn.not_before and tail.changed != turn.idle_since

    async def _look(self, reader: Reader, source: str, of: MaintenanceOf) -> None:
        of.tail = await tail_behind(reader, self._clock, source)

    async def _tried(self, source: str, turn: Turn, work: Coroutine[Any, Any, None]) -> bool:
        """Whether ``work`` went well; if not, it is counted and told."""
        try:
            await work
        except ArchiverError as error:
            self._failed(source, turn, error)
        except Exception as error:  # noqa: BLE001 -- what nobody foresaw here must not touch capture
            _log.error("maintenance_bug", source=source, exc_info=error)
            self._failed(source, turn, ArchiverError(f"maintenance failed unexpectedly: {type(error).__name__}"))
        else:
            return True
        return False

    def _failed(self, source: str, turn: Turn, error: ArchiverError) -> None:
        turn.failures += 1
        turn.problem = error.message
        turn.not_before = self._clock.monotonic() + turn.pause.next(0)
        _log.warning(_FAILED[type(turn)], source=source, reason=error.message, hint=error.hint)

    async def _fold(self, source: str, folding: FoldingOf, tail: Tail) -> None:
        began, looked = self._clock.monotonic(), self._clock.now()
        made, reason = 0, ""

        def take(answer: Answer) -> None:
            nonlocal made, reason
            if (folded := answer.folded) is not None:
                made, reason = made + (not folded.reason), folded.reason
                folding.folds += not folded.reason

        _log.info("folding_started", source=source, most_entries=folding.most_entries)
        order = self._order(source, work="fold", most_entries=folding.most_entries, behind_seconds=self._limits.behind_seconds)
        try:
            await self._carried_out(order, take)
        except TooMuchMemory as error:
            tried = folding.most_entries
            folding.most_entries = max(LEAST_ENTRIES, min(tried, tail.size.entries) // 2)
            hint = f"half as many are tried next; or {error.hint}"
            raise TooMuchMemory(f"{error.message} for {tried} entries", hint=hint) from None
        # What is too near to the journal's end may have been passed over, and has its turn later.
        if reason == NOTHING_NEW and tail.changed < looked - int((self._limits.behind_seconds + _SEALED_SECONDS) * 1e6):
            folding.idle_since = tail.changed
        self._rest(source, folding, began, "" if made or reason == NOTHING_NEW else reason)

    async def _file(self, source: str, filing: FilingOf, tail: Tail) -> None:
        began = self._clock.monotonic()
        reason, done = "", False

        def take(answer: Answer) -> None:
            nonlocal reason, done
            if (step := answer.filed) is not None:
                reason, done = step.reason, done or (step.done and not step.reason)
                filing.records += step.records
                if not step.reason:
                    filing.covered, filing.newest = step.covered, step.newest

        _log.info("history_files_started", source=source, covered=filing.covered)
        await self._carried_out(self._order(source, work="history", most_steps=_HISTORY_STEPS), take)
        if done:
            filing.idle_since = tail.changed
        self._rest(source, filing, began, reason)

    async def _pack(self, reader: Reader, packing: PackingOf) -> None:
        """Pack where a pack's worth of segments came. Raises as ``in_process``."""
        tail = await reader.tail()
        if tail is None or tail.number < packing.idle_since + SPAN:
            return
        began, made = self._clock.monotonic(), 0

        def take(answer: Answer) -> None:
            nonlocal made
            if answer.packed is not None:
                made += 1
                packing.packs += 1

        await self._carried_out(self._order("", work="pack", most_steps=_PACKS), take)
        if made < _PACKS:
            packing.idle_since = tail.number
        if made:
            _log.info("segments_packed", packs=made)
        self._rest("", packing, began, "")

    def _rest(self, source: str, turn: Turn, began: float, problem: str) -> None:
        turn.problem = problem
        if problem:
            rest = turn.pause.next(0)
            _log.info("nothing_folded" if isinstance(turn, FoldingOf) else "no_history_files", source=source, reason=problem)
        else:
            turn.pause.reset()
            spent = self._clock.monotonic() - began
            rest = pause_after(spent, interval=self._limits.interval_seconds, rest_ratio=self._limits.rest_ratio)
        turn.not_before = self._clock.monotonic() + rest

    def _order(self, source: str, **what: Any) -> Order:
        archive = self._settings.archive
        return Order(url=archive.url, s3=archive.s3, log=self._settings.log, source=source, **what)

    async def _carried_out(self, order: Order, take: Callable[[Answer], None]) -> None:
        await in_process(self._program, order, take, memory_bytes=self._limits.memory_bytes)
