"""A journal's writer that keeps what it is handed."""

from __future__ import annotations

from archiver.journal.entry import Kind, Run, SourceMark
from archiver.journal.writer import Writer


class RecordingWriter(Writer):
    """Numbers entries from 1 on and keeps runs."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.awaited: list[int] = []
        self.reached: dict[str, SourceMark] = {}

    async def append(self, run: Run, *, patient: bool = False) -> int:
        first = 1 + sum(each.count for each in self.runs)
        self.runs.append(run)
        return first

    @property
    def marks(self) -> dict[str, SourceMark]:
        return self.reached

    async def durable(self, seq: int) -> None:
        self.awaited.append(seq)

    @property
    def kinds(self) -> list[Kind]:
        return [run.kind for run in self.runs]
