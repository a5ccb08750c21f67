"""What ``verify`` says about good and damaged archives."""

from __future__ import annotations

import hashlib
import sys

import msgspec
import pytest

from archiver.errors import Invalid
from archiver.journal.entry import Kind, SourceMark
from archiver.journal.keys import IDENTITY, checkpoint_key, part_key, segment_key
from archiver.journal.parts import Part
from archiver.journal.reader import Reader
from archiver.journal.records import Gap
from archiver.journal.verifier import VerifyReport, verify
from archiver.kubernetes.records import Listing, Resource
from archiver.postgres.records import Snapshot, TableRows
from archiver.store.memory import MemoryStore
from tests.simulation.loop import inline, play
from tests.unit.journal.forge import ARCHIVE, Forgery, frames

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEXT = b"rows of a table"
ROWS = zstd.compress(TEXT)
KEY = part_key("db", "base", 0)


def archive() -> Forgery:
    """Six segments; a gap in 1; a checkpoint with one part in 2; a void segment in 4."""
    forgery = Forgery()
    forgery.open()
    gap = msgspec.json.encode(Gap("all", "slot_lost", from_position="0/1"))
    forgery.add(frames("db", b"a", b"b", position="0/5"), frames("db", gap, kind=Kind.GAP))
    part = Part(KEY, 1, len(ROWS), len(TEXT), hashlib.sha256(ROWS).hexdigest())
    snapshot = Snapshot("0/5", "1:1:", 1, 2, [TableRows(1, "public", "t", "key", ["id"], [1], [part])])
    listing = Listing(Resource("g", "v1", "things", "Thing", True), "", 1, "5", 0, 2, "start")
    forgery.add(
        frames("db", msgspec.json.encode(snapshot), kind=Kind.CHECKPOINT),
        frames("c/g/things", msgspec.json.encode(listing), kind=Kind.CHECKPOINT, position="5"),
    )
    forgery.store.create(KEY, ROWS)
    stale = forgery.end
    forgery.open()
    forgery.void(stale, frames("db", b"v"))
    forgery.add(frames("db", b"c"))
    return forgery


def report_of(forgery: Forgery, *, deep: bool = False) -> VerifyReport:
    return play(verify(forgery.store, offload=inline, deep=deep))


def test_a_good_archive() -> None:
    """Everything is counted: segments, entries, sessions, void segments, gaps with their sources, parts; the chain's head is given."""
    forgery = archive()
    progress: list[tuple[int, int]] = []
    report = play(verify(forgery.store, lambda done, total: progress.append((done, total)), deep=True, offload=inline))
    assert report.ok
    assert (report.segments, report.entries, report.sessions, report.void) == (6, 8, 2, [4])
    assert [(found.source, found.seq, found.gap.reason) for found in report.gaps] == [("db", 4, "slot_lost")]
    assert (report.parts, report.part_bytes) == (1, len(ROWS))
    assert (report.chain, report.time) == (forgery.end.chain.hex(), forgery.end.time)
    assert report.bytes == sum(len(forgery.store.peek(segment_key(number)) or b"") for number in range(6))
    assert progress == [(n, 6) for n in range(1, 7)]


def test_the_first_bad_segment_is_named() -> None:
    """Whichever segment is altered, cut or lost, the report names it; what is before it is still counted."""
    for number in range(6):
        whole = archive().store.peek(segment_key(number)) or b""
        for damaged in (whole[:-1], whole[:40], bytes([*whole[:90], whole[90] ^ 4, *whole[91:]]), b"", None):
            forgery = archive()
            forgery.store.replace(segment_key(number), damaged)
            report = report_of(forgery)
            if damaged is None and number == 5:
                assert report.ok
                continue
            assert (report.bad_segment, report.segments, report.ok) == (number, number, False)
            assert report.reason


def baseline(forgery: Forgery, *, parts: list[Part] | None = None, cause: str = "baseline") -> int:
    """A complete copy in a segment of its own, which begins to be read with the entry before it; that entry."""
    first = forgery.end.next
    forgery.add(frames("db", b"s", kind=Kind.PG_FRAMES, position="0/6", changed=first * 10))
    snapshot = Snapshot("0/5", "1:1:", first * 10, first, [TableRows(1, "public", "t", "key", ["id"], [1], parts or [])], cause)
    forgery.add(frames("db", msgspec.json.encode(snapshot), kind=Kind.CHECKPOINT))
    return first


def test_all_that_is_bad_is_told_and_what_it_costs() -> None:
    """Behind a bad segment the next ones are looked at. Points before it, and from the next complete copy on, can be restored; a copy
    with a bad part costs its own points only.
    """
    forgery = Forgery()
    forgery.open()
    one = baseline(forgery)
    forgery.add(frames("db", b"a", position="0/7", changed=40))
    forgery.add(frames("db", b"b", position="0/8", changed=50))  # 4, missing
    forgery.add(frames("db", b"c"))  # 5, missing
    forgery.add(frames("db", b"d"))
    two = baseline(forgery)
    forgery.add(frames("db", b"e", position="0/9", changed=200))
    part = Part(KEY, 1, len(ROWS), len(TEXT), hashlib.sha256(ROWS).hexdigest())
    three = baseline(forgery, parts=[part])
    four = baseline(forgery)
    forgery.add(frames("db", b"f", changed=500))  # 14, altered
    forgery.add(frames("db", b"g"))
    for number in (4, 5):
        forgery.store.replace(segment_key(number), None)
    whole = forgery.store.peek(segment_key(14)) or b""
    forgery.store.replace(segment_key(14), whole[:-1])
    report = report_of(forgery)
    assert [(bad.segment, bad.to_segment, bad.after_entry, bad.next_entry) for bad in report.bad_segments] == [
        (4, 5, 4, 7),
        (14, 14, 14, 16),
    ]
    assert [bad.seq for bad in report.bad_parts] == [three + 1]
    assert (report.bad_segment, report.segments, report.behind, report.entries) == (4, 4, 9, 4)
    assert [(each.from_entry, each.to_entry, each.before_time, each.proved) for each in report.restorable] == [
        (one, 4, 40, True),
        (two, three - 1, three * 10, False),
        (four, 14, 200, False),
    ]


def test_a_copy_across_the_damage_serves_no_point() -> None:
    """A copy whose beginning stands before a bad segment needs it; points that would begin with that copy are not named."""
    forgery = Forgery()
    forgery.open()
    one = baseline(forgery)
    begun = forgery.add(frames("db", b"a", position="0/7", changed=40))
    first = forgery.end.next - 1
    forgery.add(frames("db", b"b"))
    snapshot = Snapshot("0/7", "1:1:", 35, first, [], "baseline")
    forgery.add(frames("db", msgspec.json.encode(snapshot), kind=Kind.CHECKPOINT))
    forgery.store.replace(segment_key(begun + 1), b"x")
    report = report_of(forgery)
    assert [(each.from_entry, each.to_entry, each.before_time) for each in report.restorable] == [(one, first - 1, 35)]


@pytest.mark.parametrize(
    ("change", "data", "deep", "reason"),
    [
        ({}, ROWS, True, ""),
        ({}, None, False, "missing"),
        ({}, b"R" + ROWS[1:], True, "SHA-256"),
        ({"chain": "00"}, ROWS, False, "a journal that is not this one"),
        ({"entry": 3}, ROWS, False, "its key says"),
        ({"snapshot": 1}, ROWS, False, "cannot be read"),
    ],
)
def test_bad_folded_checkpoints_are_named(change: dict[str, object], data: bytes | None, deep: bool, reason: str) -> None:
    """What a folded checkpoint names is looked at too. A bad one is no damage of the archive: the journal has all of it."""
    forgery = archive()
    key, part_name = checkpoint_key("db", 4), part_key("db", "folded", 0)
    if data is not None:
        forgery.store.create(part_name, data)
    part = Part(part_name, 1, len(ROWS), len(TEXT), hashlib.sha256(ROWS).hexdigest())
    snapshot = Snapshot("0/5", "1:1:", 1, 5, [TableRows(1, "public", "t", "key", ["id"], [1], [part])])
    chain = play(Reader(forgery.store, offload=inline).before(2)).chain.hex()
    said = {"archive": ARCHIVE, "source": "db", "entry": 4, "segment": 2, "chain": chain, "snapshot": snapshot}
    forgery.store.create(key, msgspec.json.encode(said | change))
    report = report_of(forgery, deep=deep)
    assert report.ok
    assert (report.checkpoints, [bad.key for bad in report.bad_checkpoints]) == ((0, [key]) if reason else (1, []))
    assert reason in report.verdict
    assert bool(report.verdict) == bool(reason)


def test_swapped_segments_are_found() -> None:
    """Two good segments under each other's numbers are found at the first."""
    forgery = archive()
    one, two = forgery.store.peek(segment_key(1)), forgery.store.peek(segment_key(2))
    forgery.store.replace(segment_key(1), two)
    forgery.store.replace(segment_key(2), one)
    assert report_of(forgery).bad_segment == 1


def test_a_wrong_mark_is_found() -> None:
    """A header whose marks are not what the entries say would make capture resume in the wrong place."""
    for sources in ({"db": SourceMark("0/9")}, {}, {"db": SourceMark(), "ghost": SourceMark()}):
        forgery = archive()
        number = forgery.add(frames("db", b"d", position="0/6"), sources=sources)
        report = report_of(forgery)
        assert report.bad_segment == number
        assert "mark" in report.reason


def test_a_mark_need_not_say_where_the_newest_change_is() -> None:
    """A program that did not know that field, and wrote in between, dropped it; where it stands it is compared."""
    forgery = archive()
    forgery.add(frames("db", b"d", changed=70))
    assert forgery.end.sources["db"].changed_segment == forgery.number - 1
    older = msgspec.structs.replace(forgery.end.sources["db"], changed=80, newest_segment=forgery.number, changed_segment=-1)
    forgery.add(frames("db", b"e", changed=80), sources={**forgery.end.sources, "db": older})
    forgery.add(frames("db", b"f", changed=75))
    assert forgery.end.sources["db"].changed_segment == -1
    forgery.add(frames("db", b"g", changed=90))
    assert report_of(forgery).ok
    wrong = msgspec.structs.replace(forgery.end.sources["db"], newest_segment=forgery.number, changed_segment=1)
    number = forgery.add(frames("db", b"h"), sources={**forgery.end.sources, "db": wrong})
    assert report_of(forgery).bad_segment == number


@pytest.mark.parametrize(
    ("data", "deep", "reason"),
    [(None, False, "missing"), (b"short", False, "5 bytes"), (b"R" + ROWS[1:], True, "SHA-256"), (b"R" + ROWS[1:], False, "")],
)
def test_bad_parts_are_named(data: bytes | None, deep: bool, reason: str) -> None:
    """A part that is missing or has another size is reported with its entry; altered bytes only when they are read."""
    forgery = archive()
    forgery.store.replace(KEY, data)
    report = report_of(forgery, deep=deep)
    assert report.bad_segment is None
    assert report.ok is not bool(reason)
    assert [(bad.key, bad.seq) for bad in report.bad_parts] == ([(KEY, 5)] if reason else [])
    assert all(reason in bad.reason for bad in report.bad_parts)


def test_unreadable_records_are_found() -> None:
    """An entry of ours that is no JSON makes its segment bad, although its hashes are right."""
    for kind in (Kind.GAP, Kind.CHECKPOINT):
        forgery = archive()
        number = forgery.add(frames("db", b"{", kind=kind))
        assert report_of(forgery).bad_segment == number


def test_a_damaged_identity_is_reported() -> None:
    """``archive.json`` is checked first and reported as segment -1."""
    for data in (None, b"{}", b""):
        forgery = archive()
        forgery.store.replace(IDENTITY, data)
        report = report_of(forgery)
        assert (report.bad_segment, report.ok) == (-1, False)


def test_a_journal_that_is_gone_is_reported() -> None:
    """An archive of which every segment was deleted is not whole, although its identity is."""
    forgery = archive()
    for number in range(6):
        forgery.store.replace(segment_key(number), None)
    report = report_of(forgery)
    assert (report.bad_segment, report.ok) == (0, False)
    assert "missing" in report.reason


def test_strangers_are_reported() -> None:
    """An object among the segments that is none is reported behind the last segment."""
    forgery = archive()
    forgery.store.create("journal/zzz", b"")
    assert "journal/zzz" in report_of(forgery).reason


def test_nothing_there_is_invalid() -> None:
    """A store without an archive is a mistake in the settings, not a good archive."""
    with pytest.raises(Invalid):
        play(verify(MemoryStore(), offload=inline))
