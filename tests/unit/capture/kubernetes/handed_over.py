"""Entries of one stream as they are handed to the outbox, without a journal behind it."""

from __future__ import annotations

from archiver.capture.kubernetes.entry_writer import EntryWriter
from archiver.capture.kubernetes.outbox import Outbox
from archiver.capture.kubernetes.stream_scope import StreamScope
from archiver.journal.entry import Kind, Run
from archiver.kubernetes.records import Resource
from tests.unit.capture.set_clock import SetClock

SCOPE = StreamScope.of("kube", Resource("g.io", "v1", "things", "Thing", namespaced=True))


class KeptRuns(Outbox):
    """Keeps what is offered."""

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def offer(self, run: Run) -> bool:
        self.runs.append(run)
        return True

    async def send(self, run: Run) -> int:
        self.runs.append(run)
        return len(self.runs)

    @property
    def kinds(self) -> list[Kind]:
        return [run.kind for run in self.runs]


def entries(outbox: KeptRuns, clock: SetClock, newest: int = 0) -> EntryWriter:
    return EntryWriter(SCOPE, outbox, clock, "cluster", "https://server", newest)
