"""A journal's writer that keeps what it is handed, and a clock that is set by hand."""

from __future__ import annotations

from archiver.clock import SystemClock
from archiver.journal.entry import Kind, Run
from archiver.journal.writer import Writer


class RecordingWriter(Writer):
    """Numbers entries from 1 on and keeps runs."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.awaited: list[int] = []

    async def append(self, run: Run, *, patient: bool = False) -> int:
        first = 1 + sum(each.count for each in self.runs)
        self.runs.append(run)
        return first

    async def durable(self, seq: int) -> None:
        self.awaited.append(seq)

    @property
    def kinds(self) -> list[Kind]:
        return [run.kind for run in self.runs]


class SetClock(SystemClock):
    """Stands at ``seconds``, monotonic and since 1970."""

    def __init__(self, seconds: float = 1000.0) -> None:
        self.seconds = seconds

    def now(self) -> int:
        return round(self.seconds * 1_000_000)

    def monotonic(self) -> float:
        return self.seconds
