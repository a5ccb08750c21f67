"""Objects that cannot be redacted are set aside by name, in lists and in watches."""

from __future__ import annotations

import json

import msgspec

from archiver.capture.kubernetes.listwatch import ListWatch
from archiver.capture.kubernetes.redaction import Redactor
from archiver.capture.kubernetes.stream_context import Interest
from archiver.capture.kubernetes.stream_journal import StreamJournal
from archiver.capture.kubernetes.stream_status import StreamFigures
from archiver.capture.kubernetes.watch_batch import WatchBatch
from archiver.journal.entry import Kind
from archiver.journal.records import Gap
from archiver.kubernetes import json_fields as kj
from tests.unit.capture.kubernetes.handed_over import SCOPE, KeptRuns, entries
from tests.unit.capture.set_clock import SetClock


class Blind(Redactor):
    """Reads no object that is called ``bad``."""

    def _cut(self, body: bytes) -> bytes:
        return super()._cut(b"" if b'"bad"' in body else body)


def test_nothing_of_them_is_handed_over_and_a_gap_names_each_once() -> None:
    """The stream goes on, and holds them as they are known: by uid and resourceVersion."""
    outbox, clock = KeptRuns(), SetClock()
    redactor = Blind([(("spec", "token"), "spec.token")])
    machine = ListWatch(position="", epoch=0, resumable=False)
    figures = StreamFigures(SCOPE.stream, epoch=0, position="", strict=False)
    journal = StreamJournal(
        entries(outbox, clock), figures, machine, clock, interest=Interest(redactor=redactor), heartbeat=1.0, resumed=None
    )

    def body(name: str, version: str) -> bytes:
        metadata = {"name": name, "namespace": "s", "uid": f"u-{name}", "resourceVersion": version}
        return json.dumps({"metadata": metadata, "spec": {"token": "hunter2"}}).encode()

    listed: dict[tuple[str, str], tuple[str, str]] = {}
    journal.items([msgspec.Raw(body("bad", "3")), msgspec.Raw(body("good", "4"))], listed)
    journal.complete(listed, "5", 1, 0)
    for version in ("6", "7"):
        lines = [b'{"type":"MODIFIED","object":%b}' % body(name, version) for name in ("bad", "good")]
        batch = WatchBatch.of(lines, since="5", redactor=redactor)
        journal.events(batch)
        assert batch.failure is None
    assert outbox.kinds == [Kind.K8S_ITEM, Kind.CHECKPOINT, Kind.GAP, Kind.K8S_EVENT, Kind.K8S_EVENT]
    bodies = [each for run in outbox.runs for each in run.bodies()]
    assert not any(b"hunter2" in each for each in bodies)
    gap = msgspec.json.decode(next(iter(outbox.runs[2].bodies())), type=Gap)
    assert (gap.reason, "s/bad" in gap.detail) == ("unredacted", True)
    marked = {b'["*"]' in bytes(each) for run in (outbox.runs[0], outbox.runs[3]) for each in run.bodies()}
    assert marked == {True, False}
    assert all(kj.object_of(line) for line in outbox.runs[3].bodies())
    assert figures.objects == 2
