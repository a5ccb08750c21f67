"""When a gap of a table reaches a point."""

from __future__ import annotations

import msgspec
import pytest

from archiver.journal.entry import Kind, Placed, Run
from archiver.journal.records import Gap
from archiver.postgres.records import Catalog, Column, Look, Mode, Schema, Snapshot, Table, TableRows
from archiver.replay.points import Point
from archiver.replay.postgres.decode.commits import Limit
from archiver.replay.postgres.plan.journal_survey import FoundRecord, Survey
from archiver.replay.postgres.plan.plan import Ref
from archiver.replay.postgres.plan.state_at_point import StateAtPoint
from archiver.replay.postgres.plan.table_coverage import Coverage, cover
from tests.unit.replay.postgres import wire

TIME = 1_800_000_000_000_000
NAMES = {1: "runs", 2: "logs", 3: "cache", 4: "young"}


def table(oid: int, mode: Mode) -> Table:
    return Table(oid, "public", NAMES[oid], "r", "u" if mode == "excluded" else "p", "d", 0, mode, [Column(1, "id", "int", 23)], [1])


def copy(seq: int, lsn: str, *oids: int) -> FoundRecord[Snapshot]:
    rows = [TableRows(oid, "public", NAMES[oid], "key", ["id"], [1], []) for oid in oids]
    return FoundRecord(Ref(seq, 0), Snapshot(lsn, "1:1:", TIME, 1, rows))


def gap(name: str, since: str, reason: str = "table_rewritten", until: str = "") -> Gap:
    return Gap(f"table public.{name}" if name else "all", reason, from_position=since, to_position=until)


def covered(
    gaps: dict[int, Gap],
    *copies: FoundRecord[Snapshot],
    point: Point,
    commits: list[int],
    announced: list[int] | None = None,
    ddl: bool = False,
    looks: dict[int, Look] | None = None,
) -> Coverage:
    """``commits``: LSNs, each a transaction that ends one behind it; entry numbers are their LSNs. The checkpoint has runs and logs."""
    limit = (
        Limit(seq=point.number) if point.kind == "entry" else Limit(lsn=point.number) if point.kind == "lsn" else Limit(time=point.number)
    )
    survey = Survey(limit, from_seq=1, from_lsn=1, checkpoint=1)
    entries: list[tuple[int, Kind, list[bytes]]] = [(seq, Kind.GAP, [msgspec.json.encode(one)]) for seq, one in gaps.items()]
    for lsn in commits:
        messages = [wire.begin(lsn, lsn, TIME + lsn), *([wire.logical_message("archiver/ddl", b"")] if lsn in (announced or []) else [])]
        messages.append(wire.commit(lsn, lsn + 1, TIME + lsn))
        entries.append((lsn - len(messages) + 1, Kind.PG_FRAMES, [wire.frame(message) for message in messages]))
    for seq, kind, bodies in sorted(entries):
        survey.feed(
            Placed(
                seq,
                0,
                1,
                0,
                Run.of("db", kind, bodies, observed=TIME, changed=TIME + seq + len(bodies) - 1 if kind is Kind.PG_FRAMES else 0),
            )
        )
    survey.flush()
    survey.looks = list((looks or {}).items())
    survey.copies = list(copies)
    schema = Schema("0/1", "1:1:", 0, "baseline", 180000, "", Catalog([table(1, "key"), table(2, "insert"), table(3, "excluded")]))
    return cover(FoundRecord(Ref(1, 0), schema, ddl), copy(1, "0/1", 1, 2), copies, StateAtPoint(point, survey))


def names(coverage: Coverage) -> list[str]:
    return [one.what for one in coverage.gaps]


@pytest.mark.parametrize(("number", "found"), [(0x10, False), (0x30, True), (0x60, True), (0x70, True)])
def test_a_table_gap_reaches_from_its_beginning_to_the_next_copy(number: int, found: bool) -> None:
    """Recorded at 50 for what happened after 20: everything from there on is affected until a copy is used."""
    point = Point("", "lsn", number)
    gaps = {0x50: gap("runs", "0/20")}
    assert names(covered(gaps, point=point, commits=[0x10, 0x30, 0x70])) == (["table public.runs"] if found else [])
    assert names(covered(gaps, copy(0x55, "0/28", 1), point=point, commits=[0x10, 0x30, 0x70])) == []
    assert names(covered(gaps, copy(0x45, "0/28", 1), point=point, commits=[0x10, 0x30, 0x70])) == (["table public.runs"] if found else [])


def test_an_announced_change_says_when_a_gap_began() -> None:
    """The gap's beginning is the last look that found nothing; where changes are announced, it begins with one of them."""
    gaps = {0x50: gap("runs", "0/20")}
    point = Point("", "lsn", 0x35)
    assert names(covered(gaps, point=point, commits=[0x30, 0x40], announced=[0x40], ddl=True)) == []
    assert names(covered(gaps, point=point, commits=[0x30, 0x40], announced=[0x30], ddl=True)) == ["table public.runs"]
    assert names(covered(gaps, point=point, commits=[0x30, 0x40], announced=[0x40])) == ["table public.runs"]
    assert names(covered(gaps, point=point, commits=[0x30, 0x40], announced=[], ddl=True)) == ["table public.runs"]


def test_what_is_never_captured_and_what_is_only_added_to_is_said_not_refused() -> None:
    """Unlogged tables come back empty; that updates of insert-only tables would be missing is an approximation."""
    coverage = covered({}, point=Point("", "lsn", 0x60), commits=[0x60])
    assert coverage.gaps == []
    assert ["public.logs" in text for text in coverage.approximations] == [True]
    assert ["public.cache: unlogged" in text for text in coverage.not_included[:1]] == [True]


def test_an_approximation_says_since_when_it_is_one() -> None:
    """Up to the newest look at the server's counts, of the copy in use and before any gap; else since the copy."""
    point = Point("", "lsn", 0x30)
    look = {0x60: Look("0/50", TIME, "0/28", TIME + 5), 0x61: Look("0/50", TIME)}
    further = look | {0x62: Look("0/60", TIME, "0/30", TIME + 9)}
    for looks, gaps, copies, says in (
        ({}, {}, [], "since its copy of"),
        (look, {}, [], "since LSN 0/28 ("),
        (further, {}, [], "by the server's counts no row"),
        (further, {0x61: gap("logs", "0/31", "updates_not_published")}, [], "since LSN 0/28 ("),
        (further, {}, [copy(0x55, "0/29", 2)], "by the server's counts no row"),
        (look, {}, [copy(0x55, "0/29", 2)], "since its copy of"),
    ):
        [text] = covered(gaps, *copies, point=point, commits=[0x30], looks=looks).approximations
        assert says in text, (text, says)


def test_updates_that_are_known_to_be_missing_are_a_gap() -> None:
    """From where a copy of an insert-only table last was right, until the next one."""
    missing = {0x50: gap("logs", "0/20", "updates_not_published")}
    assert names(covered(missing, point=Point("", "lsn", 0x60), commits=[0x60])) == ["table public.logs"]
    assert names(covered(missing, point=Point("", "lsn", 0x1F), commits=[0x10, 0x60])) == []


def test_a_captured_table_without_any_copy_is_a_gap() -> None:
    """Whether or not an entry says so."""
    survey = Survey(Limit(lsn=0x60), from_seq=1, from_lsn=1, checkpoint=1)
    schema = Schema("0/1", "1:1:", 0, "baseline", 180000, "", Catalog([table(4, "key")]))
    coverage = cover(FoundRecord(Ref(1, 0), schema), copy(1, "0/1", 1), [], StateAtPoint(Point("", "lsn", 0x60), survey))
    assert [(one.what, one.reason) for one in coverage.gaps] == [("table public.young", "table_added")]


@pytest.mark.parametrize(
    ("point", "crossed"),
    [
        (Point("", "entry", 0x4F), False),
        (Point("", "entry", 0x50), True),
        (Point("", "lsn", 0x31), False),
        (Point("", "lsn", 0x45), True),
        (Point("", "time", TIME + 0x30), False),
        (Point("", "time", TIME + 0x45), True),
    ],
)
def test_a_gap_of_the_whole_source_is_crossed_behind_its_beginning(point: Point, crossed: bool) -> None:
    """What follows it is never applied to what was before it."""
    coverage = covered({0x50: gap("", "0/31", "slot_lost")}, point=point, commits=[0x30, 0x60])
    assert names(coverage) == (["all"] if crossed else [])
