"""What belongs to the state at a point, and what stands behind it."""

from __future__ import annotations

import msgspec
import pytest

from archiver.journal.entry import Kind, Placed, Run
from archiver.journal.records import Gap
from archiver.postgres.records import Catalog, Column, Look, Schema, Sealing, Sequences, Snapshot, Table
from archiver.postgres.visibility import Committed
from archiver.replay.points import Point
from archiver.replay.postgres.plan.journal_survey import FoundRecord, Survey
from archiver.replay.postgres.plan.plan import Ref
from archiver.replay.postgres.plan.point_location import limit_of
from archiver.replay.postgres.plan.state_at_point import StateAtPoint
from tests.unit.replay.postgres import wire

TIME = 1_800_000_000_000_000
POINTS = [Point("", "lsn", 0x35), Point("", "time", TIME + 0x35), Point("", "entry", 0x35)]


def state(
    point: Point,
    *,
    gaps: dict[int, Gap] | None = None,
    commits: tuple[int, ...] = (0x20, 0x30, 0x40),
    back: dict[int, int] | None = None,
) -> StateAtPoint:
    """``commits``: LSN, xid, entry number and, behind ``TIME``, time of a transaction each; ``back``: others, whose time is that much less."""
    survey = Survey(limit_of(point), from_seq=1, from_lsn=0x10, checkpoint=0x10)
    entries = [(seq, Kind.GAP, [msgspec.json.encode(gap)], 0) for seq, gap in (gaps or {}).items()]
    for at in (*commits, *(back or {})):
        time = TIME + at - (back or {}).get(at, 0)
        messages = [wire.begin(at, at, time), wire.commit(at, at + 1, time)]
        entries.append((at - 1, Kind.PG_FRAMES, [wire.frame(message) for message in messages], time))
    for seq, kind, bodies, changed in sorted(entries):
        survey.feed(Placed(seq, 0, 1, 0, Run.of("db", kind, bodies, observed=TIME, changed=changed)))
    survey.flush()
    return StateAtPoint(point, survey)


def schema(at: int, visible: str = "32:32:", seq: int = 0) -> FoundRecord[Schema]:
    return FoundRecord(Ref(seq or at, 0), Schema(f"0/{at:X}", visible, TIME + at, "poll", 180000, "", Catalog([])))


def copy(at: int, visible: str, seq: int) -> FoundRecord[Snapshot]:
    return FoundRecord(Ref(seq, 0), Snapshot(f"0/{at:X}", visible, TIME + at, 1, []))


@pytest.mark.parametrize("point", POINTS)
def test_the_state_ends_with_its_last_transaction_or_the_lsn_that_was_asked_for(point: Point) -> None:
    """Without a transaction it is the checkpoint's."""
    assert state(point).lsn == (0x35 if point.kind == "lsn" else 0x31)
    assert state(point, commits=(0x40,)).lsn == (0x35 if point.kind == "lsn" else 0x10)


@pytest.mark.parametrize("point", POINTS)
def test_readings_of_the_server_belong_to_the_state_when_they_were_made_before_the_point(point: Point) -> None:
    """However the point was said; a baseline's own schema belongs to its snapshot, wherever its entry stands."""
    made = state(point)
    assert [made.has_schema(schema(at)) for at in (0x30, 0x35, 0x36)] == [True, True, False]
    assert made.has_schema(schema(0x10, "16:16:", seq=0x60))
    polls = [FoundRecord(Ref(at, 0), Sequences(f"0/{at:X}", TIME + at, [])) for at in (0x30, 0x35, 0x36, 0x41)]
    assert [made.has_poll(poll) for poll in polls] == [True, True, False, False]


def test_a_copy_that_sees_a_transaction_behind_the_point_does_not_belong_to_the_state() -> None:
    """Where its entry stands does not matter."""
    made = state(POINTS[0])
    assert made.has_copy(copy(0x50, "64:64:", 0x60))
    assert not made.has_copy(copy(0x50, "65:65:", 0x60))


@pytest.mark.parametrize(("back", "found"), [(0, False), (400_000, False), (5_000_000, True)])
def test_a_time_under_a_later_commit_time_names_several_places(back: int, found: bool) -> None:
    """The source's clock was set back behind the point: commits there are older than what was asked for."""
    made = state(POINTS[1], back={0x50: back})
    assert made.time_gap() == ((0x50, TIME + 0x50 - back) if found else None)
    assert state(POINTS[0], back={0x50: back}).time_gap() is None


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize(("seq", "crossed"), [(0x32, True), (0x50, False)])
def test_a_gap_of_the_whole_source_is_crossed_when_it_begins_before_the_point(point: Point, seq: int, crossed: bool) -> None:
    """Nothing from behind it belongs to the state."""
    made = state(point, gaps={seq: Gap("all", "slot_lost", from_position=f"0/{seq:X}", from_time=TIME + seq)})
    assert (made.crossed_gap() is not None) == crossed
    assert not made.has_copy(copy(seq + 1, "32:32:", seq + 1))
    assert made.has_copy(copy(0x15, "16:16:", 0x16))


def test_the_point_is_known_once_the_journal_was_read_past_everything_around_it() -> None:
    """A transaction, a schema and a reading of sequences behind the point, and no reading whose commits are still to come."""
    made = state(POINTS[0])
    assert not made.is_known(0x40, late=False)
    made.survey.schemas.append(schema(0x45))
    made.survey.polls.append(FoundRecord(Ref(0x46, 0), Sequences("0/46", TIME + 0x46, [])))
    assert not made.is_known(0x44, late=True)
    assert made.is_known(0x45, late=False)
    made.survey.polls.clear()
    assert not made.is_known(0x45, late=False)
    assert made.is_known(0x45, late=True)


@pytest.mark.parametrize("point", POINTS)
def test_a_look_from_behind_the_point_tells_that_the_schema_was_still_the_same(point: Point) -> None:
    """A change need not leave a commit: so what counts is the point itself, and for an entry how far the stream was there."""
    made, newest = state(point, commits=(0x20,)), schema(0x30)
    made.survey.reached = 0x35
    assert not made.is_known_here(newest, None)
    for seq, floor, taken, known in ((0x29, 0x60, 0x60, False), (0x60, 0x34, 0x34, False), (0x61, 0x35, 0x35, True)):
        made.survey.looks = [(seq, Look(f"0/{floor:X}", TIME + taken))]
        assert made.is_known_here(newest, None) == known
    # Of an entry between, a look behind it tells nothing.
    assert not made.is_known_here(newest, schema(0x40))
    assert made.known_until(newest, schema(0x40)) == 0x30


def test_a_look_settles_only_what_it_may_have_seen_whole() -> None:
    """It may have seen more than what is sure to be in it: none of that may have been announced behind the point, nor be still unread."""
    made, newest = state(POINTS[0], commits=(0x20,)), schema(0x30)
    made.survey._position = 0x50
    missing = [Committed(at, at) for at in (0x3F, 0x40)]
    for look, behind, left in (
        (Look("0/40", TIME, end="0/48"), None, [0x40]),
        (Look("0/40", TIME, end="0/48"), 0x48, [0x40]),
        (Look("0/40", TIME, end="0/48"), 0x47, [0x3F, 0x40]),
        (Look("0/40", TIME, end="0/51"), None, [0x3F, 0x40]),
        (Look("0/40", TIME), None, [0x3F, 0x40]),
    ):
        made.survey.looks = [(0x60, look)]
        others = [Committed(behind, behind)] if behind is not None else []
        assert [each.xid for each in made.unsettled(newest, None, missing, others)] == left, (look, behind)
    made.survey.looks = [(0x60, Look("0/40", TIME, end="0/48"))]
    made.survey.broken = (0x55, Gap(what="", reason="slot_lost", detail="", from_position="", from_time=0))
    assert made.unsettled(newest, None, missing, []) == missing


def test_a_look_settles_what_its_snapshot_saw_however_long_another_transaction_stays_open() -> None:
    """The floor stands still behind that one; the snapshot tells what it saw, before the point and behind it."""
    made, newest = state(POINTS[0], commits=(0x20,)), schema(0x30)
    made.survey._position = 0x50
    missing = [Committed(0x38, 0x41), Committed(0x39, 0x44)]
    for visible, end, behind, left in (
        ("49:64:49,57", "0/48", None, [0x39]),  # 0x31 has been open for long; 0x39 was not seen yet
        ("49:64:49", "0/48", None, []),
        ("49:64:49", "0/48", 0x3A, [0x38, 0x39]),
        ("49:64:49,58", "0/48", 0x3A, []),
        ("49:64:49", "0/51", None, [0x38, 0x39]),
    ):
        made.survey.looks = [(0x60, Look("0/20", TIME, end=end, visible=visible))]
        others = [Committed(behind, 0x46)] if behind is not None else []
        assert [each.xid for each in made.unsettled(newest, None, missing, others)] == left, (visible, end, behind)


def test_what_is_noticed_late_is_waited_for() -> None:
    """Updates of an insert-only table become a gap some time after they happened, whatever else was read meanwhile."""
    made = state(POINTS[0])
    log = Table(1, "public", "log", "r", "p", "n", 0, "insert", [Column(1, "id", "int", 23)], [])
    found = schema(0x45)
    made.survey.schemas.append(FoundRecord(found.ref, msgspec.structs.replace(found.record, catalog=Catalog([log]))))
    made.survey.polls.append(FoundRecord(Ref(0x46, 0), Sequences("0/46", TIME + 0x46, [])))
    assert not made.is_known(0x45, late=False)
    assert made.is_known(0x45, late=True)


def test_keys_were_in_force_where_the_span_reaches_back_to_the_last_look() -> None:
    """An entry that does not say it leaves it not known; a span that began behind the last look says nothing of the time before."""
    made, newest = state(POINTS[0]), schema(0x20)
    for since, sealed in (("0/1F", True), ("0/20", True), ("0/21", False)):
        later = schema(0x60)
        record = msgspec.structs.replace(later.record, sealing=Sealing(since, "k"))
        assert made.was_sealed(newest, FoundRecord(later.ref, record)) is sealed
        assert not made.was_sealed(newest, later)
