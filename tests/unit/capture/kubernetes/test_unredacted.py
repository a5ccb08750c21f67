"""Objects that cannot be redacted are set aside by name, in lists and in watches."""

from __future__ import annotations

import asyncio
import json
import threading

import msgspec
import pytest

from archiver.capture.kubernetes.listwatch import ListWatch
from archiver.capture.kubernetes.off_loop import AT_ONCE, off_loop
from archiver.capture.kubernetes.redaction import MOST_BYTES, MOST_VALUES, Redactor
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
    asyncio.run(journal.items([msgspec.Raw(body("bad", "3")), msgspec.Raw(body("good", "4"))], listed))
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


META = kj.Meta("bad", "s", "u-bad", "3")
ENV = Redactor([(("spec", "env", "*", "value"), "spec.env[*].value")])


@pytest.mark.parametrize("element", [b"{}", b"[]", b"1", b'""', b'{"value":1}'])
def test_what_is_made_to_be_slow_is_set_aside(element: bytes) -> None:
    """However its elements look; text of any length is no such thing."""

    def holding(found: bytes) -> bytes:
        return b'{"metadata":{"name":"bad"},"spec":{"env":[%b]}}' % found

    assert not ENV.object(holding(b",".join([element] * (MOST_VALUES + 1))), META)[1]
    left, whole = ENV.line(b'{"type":"ADDED","object":%b}' % holding(b",".join([element] * (MOST_VALUES + 1))), "ADDED", META)
    assert (whole, json.loads(left)["object"]["metadata"]["archiverRedacted"]) == (False, ["*"])
    text = b'"' + b"[{," * MOST_VALUES + b'"'
    assert ENV.object(holding(text), META) == (holding(text), True)
    assert not ENV.object(holding(b'"' + b"a" * MOST_BYTES + b'"'), META)[1]
    assert ENV.object(holding(b",".join([element] * 1000)), META)[1]


def test_what_no_path_leads_to_is_passed_over() -> None:
    """By a search alone: what stands there may be no JSON at all. A name that is escaped is still found, and a list in a list is cut."""
    passed = b'{"metadata":{"name":"a"},"spec":{"env":[{"x":1},{"y" 2}]}}'
    assert ENV.object(passed, META) == (passed, True)
    for hidden in (b'[{"val\\u0075e":"hunter2"}]', b'[[[{"x":"hunter2"}]]]'):
        left, whole = ENV.object(b'{"metadata":{"name":"a"},"spec":{"env":%b}}' % hidden, META)
        assert (whole, b"hunter2" in left) == (True, False)


def test_much_is_cut_beside_the_event_loop() -> None:
    """What little takes no time is cut in it."""

    async def story() -> None:
        here = threading.get_ident()
        assert await off_loop(AT_ONCE, threading.get_ident) == here
        assert await off_loop(AT_ONCE + 1, threading.get_ident) != here

    asyncio.run(story())


def test_a_page_of_large_objects_is_cut_beside_the_event_loop() -> None:
    """None of it by the loop's own thread; the bodies are those of the redactor, in their order."""
    seen = set[int]()

    class Watched(Redactor):
        def object(self, body: bytes, meta: kj.Meta) -> tuple[bytes, bool]:
            seen.add(threading.get_ident())
            return super().object(body, meta)

    outbox, clock = KeptRuns(), SetClock()
    machine, figures = ListWatch(position="", epoch=0, resumable=False), StreamFigures(SCOPE.stream, epoch=0, position="", strict=False)
    interest = Interest(redactor=Watched([(("spec", "token"), "spec.token")]))
    journal = StreamJournal(entries(outbox, clock), figures, machine, clock, interest=interest, heartbeat=1.0, resumed=None)
    metadata = [{"name": name, "namespace": "s", "uid": name, "resourceVersion": "3"} for name in "ab"]
    items = [msgspec.Raw(json.dumps({"metadata": each, "spec": {"token": "hunter2", "kept": "k" * AT_ONCE}}).encode()) for each in metadata]
    asyncio.run(journal.items(items, {}))
    bodies = [json.loads(bytes(each)) for run in outbox.runs for each in run.bodies()]
    assert [(each["metadata"]["name"], sorted(each["spec"])) for each in bodies] == [("a", ["kept"]), ("b", ["kept"])]
    assert threading.get_ident() not in seen
