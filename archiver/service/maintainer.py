"""Folding while capture runs: looks at the tails now and then, and has a process of its own fold the one that is due.

Nothing of it is on the way of a commit: it has its own connections to the store, and what takes processors and memory is another process,
which gives way. Whatever happens to it is told by the log, the status and the metrics, and ends nothing.

    look at each tail -> estimated restore time is half of the objective? -> one process, one source -> rest -> look again
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog

from archiver.errors import ArchiverError, Unavailable
from archiver.journal.reader import Reader
from archiver.maintenance.cadence import is_due, pause_after
from archiver.maintenance.folded import MOST_ENTRIES, NOTHING_NEW, Folded
from archiver.maintenance.tails import Tail, tail_behind
from archiver.service.fold_order import FoldAnswer, FoldOrder
from archiver.store.open import open_store
from archiver.untrusted import Unreadable, decode_untrusted
from archiver.waiting import GrowingPause

if TYPE_CHECKING:
    from collections.abc import Sequence

    from archiver.clock import Clock
    from archiver.settings import Settings

PROGRAM = (sys.executable, "-m", "archiver.service.folding_process")
_WATCH_SECONDS = 0.1
"""How often the memory of the process is looked at."""
_END_SECONDS = 5.0
_FIRST_SECONDS = 5.0
"""Between looks until each source has a tail to look at: whoever starts an archiver wants to see it."""
_LONGEST_PAUSE = 3600.0
LEAST_ENTRIES = 1000
"""Fewer are never tried: one transaction must fit."""
_SEALED_SECONDS = 60.0
"""By then a change stands in the journal, as usual."""
_ANSWER_BYTES = 1 << 20

_log = structlog.get_logger()


@dataclass(slots=True)
class FoldingOf:
    """How folding stands for one source."""

    pause: GrowingPause
    tail: Tail | None = None
    not_before: float = 0.0
    idle_since: int = -1
    """Nothing new was found to fold when the source had said this of its newest change."""
    most_entries: int = MOST_ENTRIES
    folds: int = 0
    failures: int = 0
    problem: str = ""
    """Why the newest try made nothing; empty when it did."""
    made: list[Folded] = field(default_factory=list)
    """Of the try that runs."""


class TooMuchMemory(Unavailable):
    """The process took more memory than it may."""


class Maintainer:
    """Folds for one archive, one source at a time. ``run`` until cancelled; ``known`` says how it stands."""

    def __init__(self, settings: Settings, clock: Clock, *, program: Sequence[str] = PROGRAM) -> None:
        self._settings, self._limits, self._clock, self._program = settings, settings.maintenance, clock, program
        self.known: dict[str, FoldingOf] = {}

    async def run(self) -> None:
        """Look and fold until cancelled. Raises nothing else; on return the process has ended."""
        archive = self._settings.archive
        if not self._limits.enabled or archive.url.startswith("memory:"):
            return
        store = await open_store(archive.url, archive.s3)
        try:
            reader = Reader(store)
            while True:
                known = self.known and all(folding.tail is not None for folding in self.known.values())
                await self._clock.sleep(self._limits.interval_seconds if known else min(_FIRST_SECONDS, self._limits.interval_seconds))
                for source in self._settings.sources:
                    await self._look_after(reader, source)
        finally:
            await store.close()

    async def _look_after(self, reader: Reader, source: str) -> None:
        """One look at one source, and a fold if it is due."""
        folding = self.known.get(source)
        if folding is None:
            interval = self._limits.interval_seconds
            # One that is started again and again does not fold each time.
            folding = FoldingOf(GrowingPause(interval, _LONGEST_PAUSE, least=1, most=1), not_before=self._clock.monotonic() + interval)
            self.known[source] = folding
        try:
            folding.tail = await tail_behind(reader, self._clock, source)
            if folding.tail is None or not is_due(folding.tail.size, self._limits.restore_time_objective):
                return
            if self._clock.monotonic() < folding.not_before or folding.tail.changed == folding.idle_since:
                return
            await self._fold(source, folding, folding.tail.changed)
            folding.tail = await tail_behind(reader, self._clock, source)
        except ArchiverError as error:
            self._failed(source, folding, error)
        except Exception as error:  # noqa: BLE001 -- what nobody foresaw here must not touch capture
            _log.error("folding_bug", source=source, exc_info=error)
            self._failed(source, folding, ArchiverError(f"folding failed unexpectedly: {type(error).__name__}"))

    def _failed(self, source: str, folding: FoldingOf, error: ArchiverError) -> None:
        folding.failures += 1
        folding.problem = error.message
        folding.not_before = self._clock.monotonic() + folding.pause.next(0)
        _log.warning("folding_failed", source=source, reason=error.message, hint=error.hint)

    async def _fold(self, source: str, folding: FoldingOf, changed: int) -> None:
        began, looked = self._clock.monotonic(), self._clock.now()
        folding.made = []
        try:
            reason = await self._in_process(source, folding)
        except TooMuchMemory:
            there = folding.tail.size.entries if folding.tail is not None else MOST_ENTRIES
            folding.most_entries = max(LEAST_ENTRIES, min(folding.most_entries, there) // 2)
            raise
        finally:
            folding.folds += len(folding.made)
        # What is too near to the journal's end may have been passed over, and has its turn later.
        if reason == NOTHING_NEW and changed < looked - int((self._limits.behind_seconds + _SEALED_SECONDS) * 1e6):
            folding.idle_since = changed
        folding.problem = "" if folding.made or reason == NOTHING_NEW else reason
        if not folding.problem:
            folding.pause.reset()
            spent = self._clock.monotonic() - began
            rest = pause_after(spent, interval=self._limits.interval_seconds, rest_ratio=self._limits.rest_ratio)
        else:
            rest = folding.pause.next(0)
            _log.info("nothing_folded", source=source, reason=folding.problem)
        folding.not_before = self._clock.monotonic() + rest

    async def _in_process(self, source: str, folding: FoldingOf) -> str:
        """Have a process fold, and return why it folded no further when it has ended. ``Unavailable`` when it failed, or says so."""
        archive = self._settings.archive
        order = FoldOrder(
            url=archive.url,
            s3=archive.s3,
            log=self._settings.log,
            source=source,
            most_entries=folding.most_entries,
            behind_seconds=self._limits.behind_seconds,
        )
        try:
            process = await asyncio.create_subprocess_exec(
                *self._program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_ANSWER_BYTES
            )
        except OSError as error:
            raise Unavailable(f"the folding process cannot be started: {error.strerror}", hint="it is tried again") from error
        _log.info("folding_started", source=source, pid=process.pid, most_entries=folding.most_entries)
        watch = asyncio.create_task(self._bound_memory(process))
        try:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                process.stdin.write(msgspec.json.encode(order) + b"\n")
                await process.stdin.drain()
            reason = await _listen(process, folding)
            code = await process.wait()
        finally:
            # Its standard input stays open until here: its end means that this process has ended.
            watch.cancel()
            await _ended(process)
        if watch.done() and not watch.cancelled() and watch.result():
            raise TooMuchMemory(
                f"folding took more than {self._limits.memory_bytes >> 20} MiB for {folding.most_entries} entries",
                hint="half as many are tried next; or raise maintenance.memory_bytes",
            )
        if code:
            raise Unavailable(f"the folding process ended with {code}{': ' + reason if reason else ''}", hint="it is tried again")
        return reason

    async def _bound_memory(self, process: asyncio.subprocess.Process) -> bool:
        """True once the process took too much, and was ended."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            if _resident_bytes(process.pid) > self._limits.memory_bytes:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                return True


async def _listen(process: asyncio.subprocess.Process, folding: FoldingOf) -> str:
    """Take over what the process says until it says no more; why it folded no further."""
    assert process.stdout is not None
    reason = ""
    while line := await process.stdout.readline():
        try:
            answer = decode_untrusted(line, FoldAnswer, most=_ANSWER_BYTES)
        except Unreadable as error:
            raise Unavailable(f"the folding process says what is not understood: {error}", hint="report it with the log") from None
        if answer.done is None or answer.done.reason:
            reason = answer.failure if answer.done is None else answer.done.reason
        else:
            folding.made.append(answer.done)
    return reason


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_END_SECONDS):
            await process.wait()


def _resident_bytes(pid: int) -> int:
    """Of a process; 0 where it cannot be told."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0
