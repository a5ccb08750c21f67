"""From when to when each source can be restored, its gaps and its last drill, as ``archiver window`` finds them: in the background."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import structlog

from archiver.errors import ArchiverError
from archiver.journal.drill_reports import DrillReport, newest
from archiver.journal.verifier import verify
from archiver.journal.window import SourceWindow, windows
from archiver.postgres.unseen_changes import UnseenChanges

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.store.protocol import Store

AGAIN_SECONDS = 60.0
"""The whole journal is read for it: not more often than this, nor than a hundredth of the time can go into it; after a failure, a tenth."""
_log = structlog.get_logger()


class FoundWindows(msgspec.Struct, frozen=True):
    """What is known now."""

    sources: list[SourceWindow]
    damage: str
    """What is bad in the archive; empty: nothing."""
    ready: bool
    """False: it is being read for the first time."""
    progress: float
    problem: str = ""
    """Why not all of it is known, or not anew; empty: it is."""


class Windows:
    """Reads the journal through when it is asked, and now and then again."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._task: asyncio.Task[None] | None = None
        self._found = FoundWindows([], "", ready=False, progress=0.0)
        self._again = 0.0

    @property
    def known(self) -> FoundWindows:
        """What there is, without looking for more."""
        return self._found

    async def found(self, patience: float) -> FoundWindows:
        """What there is after ``patience`` seconds at most. Who asks may be cancelled: what is being read goes on."""
        if self._task is None and self._clock.monotonic() >= self._again:
            self._task = asyncio.create_task(self._read())
        if (task := self._task) is not None:
            await asyncio.wait([task], timeout=patience)
            if task.done():
                self._task = None if self._task is task else self._task
                task.result()
        return self._found

    async def stop(self) -> None:
        """End what runs."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> None:
        begun, failed = self._clock.monotonic(), True
        try:
            await self._look()
            failed = bool(self._found.problem)
        except ArchiverError as error:
            self._found = msgspec.structs.replace(self._found, ready=True, problem=_problem(error))
        finally:
            ended = self._clock.monotonic()
            self._again = ended + max(AGAIN_SECONDS, (10 if failed else 100) * (ended - begun))

    async def _look(self) -> None:
        report = await verify(self._store, self._note, finder=UnseenChanges())
        drills, problem = dict[str, DrillReport](), ""
        try:
            _, drills = await newest(self._store, {each.source.partition("/")[0] for each in report.restorable}, now=self._clock.now())
        except ArchiverError as error:
            # Gaps are known all the same.
            problem = _problem(error)
        self._found = FoundWindows(
            windows(report, drills), report.verdict if not report.ok else "", ready=True, progress=1.0, problem=problem
        )

    def _note(self, done: int, total: int) -> None:
        if not self._found.ready:
            self._found = msgspec.structs.replace(self._found, progress=done / max(1, total))


def _problem(error: ArchiverError) -> str:
    _log.warning("timeline_windows_not_found", reason=error.message)
    return f"{error.message}; {error.hint}" if error.hint else error.message
