"""How many requests a status and a start take: as many in a long archive as in a short one, and however many streams ended."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from archiver.capture.kubernetes.journal_view import resume_living
from archiver.capture.postgres.start.journal_view import newest_commit_segment
from archiver.clock import SystemClock
from archiver.journal.changed_marks import Carrying
from archiver.journal.drill_reports import DrillReport, record
from archiver.journal.entry import Kind
from archiver.journal.keys import checkpoint_key, signpost_key
from archiver.journal.limits import WriterLimits
from archiver.journal.records import Gap
from archiver.journal.signposts import EVERY
from archiver.journal.writer import Writer
from archiver.kubernetes.records import Listing, Resource, Watch
from archiver.kubernetes.stream_state import RESOURCE_GONE
from archiver.service import journal_status
from archiver.settings import parse
from archiver.store.protocol import Store
from tests.unit.journal.counting_store import CountingStore
from tests.unit.journal.forge import Forgery, frames

THING = Resource("g", "v1", "things", "Thing", namespaced=True)
GONE = Gap(what="all", reason=RESOURCE_GONE, detail="", from_position="", to_position="", from_time=0, to_time=0)
SETTINGS = {"sources": {"db": {"postgres": {"dsn": "dbname=x"}}, "kube": {"kubernetes": {}}}}


def archive(segments: int, ended: int, *, folded: bool = False) -> CountingStore:
    """A database and three kinds of objects, ``ended`` more that went away, and behind them so many ``segments`` of heartbeats."""
    forgery = Forgery()
    store = forgery.store = CountingStore(forgery.store)
    forgery.open()
    forgery.carrying = Carrying()
    forgery.add(frames("db", b"{}", kind=Kind.CHECKPOINT), frames("db", b"x", changed=7))
    names = [*(f"kube/g/k{number}" for number in range(3)), *(f"kube/g/old{number}" for number in range(ended))]
    for name in names:
        watch = msgspec.json.encode(Watch("c", "s", THING, "", 0, "", "start"))
        listing = msgspec.json.encode(Listing(THING, "", 0, "5", 0, forgery.end.next, "start"))
        ends = [frames(name, msgspec.json.encode(GONE), kind=Kind.GAP)] if "old" in name else []
        forgery.add(frames(name, watch, kind=Kind.K8S_WATCH), frames(name, listing, kind=Kind.CHECKPOINT, position="5"), *ends)
    while forgery.number < segments:
        forgery.add(frames("db", b"", kind=Kind.PROGRESS, observed=10 + forgery.number, position=f"0/{forgery.number:X}"))
        if (forgery.number - 1) % EVERY == 0:
            store.create(signpost_key(forgery.number - 1), b"")
    if folded:
        entry, segment = forgery.end.next - 40, forgery.end.segment - 39
        store.create(
            checkpoint_key("db", entry),
            b'{"format":1,"archive":"a","source":"db","entry":%d,"time":5,"segment":%d,"chain":""' % (entry, segment),
        )
    return store


async def status(store: CountingStore, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    async def opened(*_: object) -> Store:
        return store

    monkeypatch.setattr(journal_status, "open_store", opened)
    store.calls.clear()
    report = await journal_status.status_of(parse(SETTINGS, "test"), SystemClock(), offline=True)
    assert report.notes == []
    return store.calls.copy()


async def start(store: CountingStore) -> Counter[str]:
    store.calls.clear()
    kinds = {"db": "postgres", "kube": "kubernetes"}
    writer = await Writer.open(store, SystemClock(), instance="a", version="0", sources=kinds, limits=WriterLimits())
    assert await resume_living(writer.reader(), writer.marks, "kube")
    assert await newest_commit_segment(writer.reader(), "db", writer.marks["db"]) == 1
    return store.calls.copy()


async def test_a_long_archive_takes_no_more_requests_than_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with a folded checkpoint, whose place is found from what it says. Lengths end at the same distance from a signpost."""
    for folded in (False, True):
        short, long = (archive(segments, 5, folded=folded) for segments in (1_000, 1_000 + 40 * EVERY))
        assert await status(short, monkeypatch) == await status(long, monkeypatch)
        found = [await start(each) for each in (short, long)]
        assert found[0] == found[1]
        assert found[0].total() < 60


async def test_streams_that_ended_take_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever their number: only where all marks stand may be another segment."""
    few, many = (archive(2_000, ended) for ended in (10, 600))
    assert abs((await status(few, monkeypatch)).total() - (await status(many, monkeypatch)).total()) <= 4
    assert abs((await start(few)).total() - (await start(many)).total()) <= 4


async def test_drills_of_years_take_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a source that had no drill, too."""
    stores = [archive(300, 5) for _ in range(2)]
    now, hour = SystemClock().now(), 3_600_000_000
    for store, count in zip(stores, (50, 3_000), strict=True):
        for number in range(count, 0, -1):
            await record(store, DrillReport("latest", 1, now - number * hour, True, sources=["db"]))
    assert await status(stores[0], monkeypatch) == await status(stores[1], monkeypatch)
