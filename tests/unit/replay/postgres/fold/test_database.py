"""The column-wise fold against a database that is kept row by row."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archiver.errors import Corrupt
from archiver.journal.entry import Kind
from archiver.replay.postgres.fold.database import DatabaseFold, Limit, Sizes
from tests.unit.replay.postgres import wire
from tests.unit.replay.postgres.memory_spill import MemorySpill
from tests.unit.replay.postgres.world import Part, Relation, World, copy_text, parse

TINY = Sizes(
    batch_bytes=400, table_bytes=300, pending_bytes=500, piece_bytes=64, compact_rows=6, held_bytes=400, staged_bytes=200, partitions=3
)


def a_world(random: Random) -> World:
    world = World(random, first_xid=random.choice([1000, (1 << 32) - 12, (3 << 32) + 5]))
    world.tables = {
        1: Relation(1, [Part(1, "id"), Part(2, "a"), Part(3, "b")], [1], "d"),
        2: Relation(2, [Part(1, "x"), Part(2, "k2"), Part(4, "k1"), Part(6, "big")], [2, 4], "i"),
        3: Relation(3, [Part(1, "a"), Part(2, "b")], [], random.choice(["f", "n"])),
    }
    world.schema("baseline")
    return world


def run(world: World, steps: int) -> None:
    random = world.random
    for _ in range(steps):
        roll = random.random()
        if roll < 0.5:
            world.transaction()
        elif roll < 0.6 and len(world.streams) < 2:
            world.stream_begin()
        elif roll < 0.8 and world.streams:
            world.stream_block(random.choice(world.streams))
        elif roll < 0.88 and world.streams:
            world.stream_end(random.choice(world.streams))
        elif roll < 0.93:
            world.reconnect()
        elif roll < 0.96 and world.states:
            world.copy_again()
        elif not world.streams:
            (world.far if random.random() < 0.3 else world.ddl)()


def check(world: World, fold: DatabaseFold, expected: dict[int, Relation], parts: dict[int, bytes]) -> None:
    for oid, table in expected.items():
        attnums = [part.attnum for part in table.parts if not part.generated]
        world.random.shuffle(attnums)
        state = fold.table(oid)
        output = state.output(attnums)
        texts = []
        if state.base is not None:
            texts += [bytes(text) for text in output.part(parts[oid])]
        texts += [bytes(text) for text in output.rest()]
        assert all(not text or text.endswith(b"\n") for text in texts)
        assert parse(b"".join(texts)) == parse(copy_text(table, attnums))
        assert output.rows == len(table.rows)


@given(random=st.randoms(use_true_random=False), steps=st.integers(0, 40), sizes=st.sampled_from([TINY, Sizes()]))
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_fold_equals_model(random: Random, steps: int, sizes: Sizes) -> None:
    """At any limit, the fold of any schedule over any baseline is what the tables held there."""
    world = a_world(random)
    run(world, random.randint(0, 10))
    world.streams.clear()
    world.known.clear()
    baseline, parts = world.snapshot(list(world.tables), world.tables, world.visible())
    first, from_start = len(world.states), random.random() < 0.3
    world.record(0, world.seq - 1)
    placed_before = 0 if from_start else len(world.placed)
    world.put(Kind.PG_STREAM, [b"{}"])
    run(world, steps)
    states = world.states[first:]
    chosen = random.choice(states)
    how = random.choice(["all", "seq", "lsn", "time"])
    if how == "all":
        limit, expected = Limit(), states[-1]
    elif how == "seq":
        limit, expected = Limit(seq=chosen.seq + random.choice([0, 0, 1])), chosen
        expected = [state for state in states if state.seq <= (limit.seq or 0)][-1]
    elif how == "lsn":
        limit, expected = Limit(lsn=chosen.end_lsn), chosen
    else:
        limit = Limit(time=chosen.time)
        count = next((place for place, state in enumerate(world.states) if place > first and state.time > chosen.time), len(world.states))
        expected = world.states[count - 1]
    fold = DatabaseFold(world.schemas, limit=limit, sizes=sizes, spill=MemorySpill() if random.random() < 0.5 else None)
    fold.checkpoint(baseline)
    # Copies that the checkpoint does not have yet, and that know nothing after the point.
    for one in world.copies:
        if first <= one.state <= world.states.index(expected) and random.random() < 0.7:
            fold.recopied(one.snapshot)
            parts |= one.texts
    for placed in world.placed[placed_before:]:
        if not fold.feed(placed):
            break
    summary = fold.finish()
    assert summary.notes == []
    check(world, fold, expected.tables, parts)
    if expected is not states[0]:
        assert summary.last is not None
        assert (summary.last.end_lsn, summary.last.seq) == (expected.end_lsn, expected.seq)


@pytest.mark.parametrize("aside", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_fold_of_long_histories(seed: int, aside: bool) -> None:
    """A long schedule in small batches ends as the model does, in memory and where memory has no room; each output begins anew."""
    world = a_world(Random(seed))
    baseline, parts = world.snapshot(list(world.tables), world.tables, world.visible())
    run(world, 400)
    spill = MemorySpill()
    fold = DatabaseFold(world.schemas, sizes=TINY, spill=spill if aside else None)
    fold.checkpoint(baseline)
    for placed in world.placed:
        fold.feed(placed)
    fold.finish()
    assert (spill.puts > 10) == aside
    for _ in range(2):
        check(world, fold, world.states[-1].tables, parts)


@pytest.mark.parametrize("seed", range(20))
def test_what_commits_half_a_circle_behind_a_copy_is_not_in_it(seed: int) -> None:
    """Ids that wrapped between a table's copy and a commit, or before the copy, lose no row and bring none back."""
    world = a_world(Random(seed))
    baseline, parts = world.snapshot(list(world.tables), world.tables, world.visible())
    world.record(0, world.seq - 1)
    world.put(Kind.PG_STREAM, [b"{}"])
    for _ in range(3):
        for _ in range(4):
            world.transaction(changes=5)
        world.far()
        world.transaction(changes=5)
        world.copy_again()
        world.transaction(changes=5)
        world.far()
    fold = DatabaseFold(world.schemas)
    fold.checkpoint(baseline)
    for one in world.copies:
        fold.recopied(one.snapshot)
        parts |= one.texts
    for placed in world.placed:
        fold.feed(placed)
    fold.finish()
    check(world, fold, world.states[-1].tables, parts)


def contradiction() -> tuple[World, DatabaseFold]:
    world = a_world(Random(1))
    world.send([wire.begin(7, world.lsn + 1, world.time), world.description(world.tables[1], None)])
    world.send([wire.update(1, [b"absent", b"x", b"y"]), wire.commit(world.lsn + 1, world.lsn + 2, world.time)])
    return world, DatabaseFold(world.schemas)


def test_a_change_of_a_row_that_is_not_there_is_corrupt() -> None:
    """The rows are written, and then the output says that they must not be trusted."""
    world, fold = contradiction()
    for placed in world.placed:
        fold.feed(placed)
    fold.finish()
    with pytest.raises(Corrupt, match="contradict"):
        list(fold.table(1).output([1, 2]).rest())


def test_across_a_gap_contradictions_are_counted() -> None:
    """Without ``strict`` what is known of the row is put out."""
    world, _ = contradiction()
    fold = DatabaseFold(world.schemas, strict=False)
    for placed in world.placed:
        fold.feed(placed)
    fold.finish()
    output = fold.table(1).output([1, 3])
    assert b"".join(output.rest()) == b"absent\ty\n"
    assert (output.rows, output.contradictions) == (1, 1)


def test_rows_before_their_description_are_corrupt() -> None:
    """Replay that begins behind the PG_STREAM entry cannot read rows, and says so."""
    world = a_world(Random(1))
    world.send([wire.begin(7, 2, world.time), wire.insert(1, [b"1", b"2", b"3"]), wire.commit(2, 3, world.time)])
    fold = DatabaseFold(world.schemas)
    with pytest.raises(Corrupt, match="description"):
        [fold.feed(placed) for placed in world.placed] and fold.finish()


def test_a_table_without_columns_keeps_its_rows() -> None:
    """Rows of no columns are empty lines."""
    world = a_world(Random(1))
    world.tables = {9: Relation(9, [], [], "n")}
    world.schema()
    body = [world.description(world.tables[9], None), wire.insert(9, []), wire.insert(9, [])]
    world.send([wire.begin(7, 0x20000, world.time), *body, wire.commit(0x20000, 0x20001, world.time)])
    fold = DatabaseFold(world.schemas)
    base, _ = world.snapshot([9], world.tables, "1:1:")
    fold.checkpoint(base)
    for placed in world.placed:
        fold.feed(placed)
    fold.finish()
    output = fold.table(9).output([])
    assert b"".join([*output.part(b"\n"), *output.rest()]) == b"\n\n\n"
    assert output.rows == 3


def test_a_description_counts_by_when_it_came() -> None:
    """A stream that was described before a column was added and commits after it does not bring the old description back."""
    world = a_world(Random(1))
    old = world.tables[1]
    before = [
        wire.stream_start(5, first=True),
        wire.relation(1, "t1", "d", columns(old), 5),
        wire.insert(1, [b"s", None, None], 5),
        wire.stream_stop(),
    ]
    world.send(before)
    old.parts.append(Part(9, "later"))
    world.lsn += 100
    world.schema()
    added = [wire.relation(1, "t1", "d", columns(old)), wire.insert(1, [b"m", None, None, b"new"])]
    world.send([wire.begin(2000, 0x30000, world.time), *added, wire.commit(0x30000, 0x30001, world.time)])
    world.send([wire.stream_commit(5, 0x30010, 0x30011, world.time)])
    last = [wire.begin(2001, 0x30020, world.time), wire.insert(1, [b"n", None, None, b"new"]), wire.commit(0x30020, 0x30021, world.time)]
    world.send(last)
    fold = DatabaseFold(world.schemas)
    for placed in world.placed:
        fold.feed(placed)
    fold.finish()
    assert parse(b"".join(fold.table(1).output([1, 9]).rest())) == [(b"m", b"new"), (b"n", b"new"), (b"s", None)]


def columns(table: Relation) -> list[tuple[str, int, bool]]:
    return [(part.name, part.type_oid, part.attnum in table.key) for part in table.parts]
