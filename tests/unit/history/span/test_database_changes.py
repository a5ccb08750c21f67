"""What is told of a database against one that is kept row by row."""

from __future__ import annotations

from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from archiver.history.row_states import text_of
from archiver.history.span.bounds import Bounds, Told
from archiver.history.span.changes import Change
from archiver.history.span.database_changes import DatabaseBeginning, DatabaseChanges
from archiver.history.span.known_values import KnownValues
from archiver.journal.entry import Kind
from archiver.replay.points import Point
from tests.unit.replay.postgres.fold.test_database import a_world, run
from tests.unit.replay.postgres.memory_spill import MemorySpill
from tests.unit.replay.postgres.world import Relation, World

Rows = list[dict[str, str | None]]


def told_of(world: World, most_bytes: int = 1 << 20) -> list[Told]:
    """All that is told of ``world``, fed run by run, or gathered."""
    spill = MemorySpill() if world.random.random() < 0.5 else None
    changes = DatabaseChanges("db", DatabaseBeginning(), KnownValues(most_bytes), spill=spill)
    found = []
    for placed in world.placed:
        found += list(changes.feed(placed))
        if world.random.random() < 0.3:
            found += list(changes.flush())
    return found + list(changes.flush())


def rows_of(table: Relation) -> Rows:
    return [{part.name: text_of(row[part.attnum]) for part in table.parts if not part.generated} for row in table.rows]


def is_sorted(told: list[Told]) -> bool:
    return [each.order for each in told] == sorted(each.order for each in told)


def follow(rows: Rows, change: Change) -> None:
    """Do to ``rows`` what ``change`` says; every old value that it tells is there."""
    new = {field.name: field.new for field in change.fields if field.new is not UNSET}
    old = {field.name: field.old for field in change.fields if field.old is not UNSET}
    if change.operation == "truncate":
        rows.clear()
        return
    if change.operation == "insert":
        assert old == {}
        rows.append(new)
        return
    was = {**change.key, **{name: value for name, value in old.items() if name in change.key}}
    row = next(row for row in rows if was.items() <= row.items())
    assert old.items() <= row.items()
    if change.operation == "delete":
        rows.remove(row)
        return
    assert all(field.old_known is False or field.old != field.new for field in change.fields)
    row |= new


@given(random=st.randoms(use_true_random=False), steps=st.integers(0, 40), most_bytes=st.sampled_from([0, 2000, 1 << 20]))
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_who_follows_what_is_told_has_the_tables_as_they_were_after_every_commit(random: Random, steps: int, most_bytes: int) -> None:
    """Each committed change once, in commit order; nothing of what was rolled back; old values true, however few of them can be known."""
    world = a_world(random)
    world.record(0, 0)
    world.put(Kind.PG_STREAM, [b"{}"])
    run(world, steps)
    told = told_of(world, most_bytes)
    assert is_sorted(told)
    tables: dict[str, Rows] = {f"public.{table.name}": [] for table in world.tables.values()}
    rest = [each.change for each in told]
    for before, state in zip(world.states, world.states[1:], strict=False):
        while rest and rest[0].at <= state.seq:
            change = rest.pop(0)
            assert (change.at, change.time) == (state.seq, state.time)
            if change.operation != "ddl":
                follow(tables[change.table], change)
        for oid, table in state.tables.items():
            if world.definitions(before) != world.definitions(state):
                tables[f"public.{table.name}"] = rows_of(table)
            assert sorted(map(repr, map(sorted_row, tables[f"public.{table.name}"]))) == sorted(
                map(repr, map(sorted_row, rows_of(table)))
            ), oid
    assert rest == []


def sorted_row(row: dict[str, str | None]) -> list[tuple[str, str | None]]:
    return sorted(row.items())


@given(random=st.randoms(use_true_random=False), steps=st.integers(0, 40))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_old_values_are_known_where_there_is_room(random: Random, steps: int) -> None:
    """From the first change of a table on, and until its definition changes, nothing is said to be unknown."""
    world = a_world(random)
    world.put(Kind.PG_STREAM, [b"{}"])
    run(world, steps)
    told = told_of(world)
    first_ddl = next((each.order for each in told if each.change.operation == "ddl"), (1 << 60, 0))
    assert all(field.old_known is not False for each in told if each.order < first_ddl for field in each.change.fields)


@given(random=st.randoms(use_true_random=False), steps=st.integers(0, 40))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_between_two_points_is_what_the_later_has_and_the_earlier_has_not(random: Random, steps: int) -> None:
    """Points of any kind, in any order."""
    world = a_world(random)
    world.record(0, 0)
    world.put(Kind.PG_STREAM, [b"{}"])
    run(world, steps)
    told = told_of(world)

    def point() -> tuple[Point, set[int]]:
        """One, and the commits that a restore of it has."""
        chosen = random.choice(world.states)
        match random.choice(["entry", "lsn", "time"]):
            case "entry":
                number = chosen.seq + random.choice([0, 1])
                return Point("", "entry", number), {state.seq for state in world.states if state.seq <= number}
            case "lsn":
                return Point("", "lsn", chosen.end_lsn), {state.seq for state in world.states if state.end_lsn <= chosen.end_lsn}
            case _:
                # Commit times go back a little now and then: whatever follows one that is beyond is beyond too.
                many = next((n for n, state in enumerate(world.states[1:], 1) if state.time > chosen.time), len(world.states))
                return Point("", "time", chosen.time), {state.seq for state in world.states[:many]}

    (start, before), (end, after) = point(), point()
    found = {each.change.at for each in told if Bounds(start, end).holds(each.mark)}
    everything = {each.change.at for each in told}
    assert found == everything & (after - before)
