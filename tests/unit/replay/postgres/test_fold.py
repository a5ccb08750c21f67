"""The column-wise fold against a database that is kept row by row."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archiver.journal.entry import Kind
from archiver.replay.postgres.fold import DatabaseFold, Limit, Sizes
from tests.unit.replay.postgres.world import Part, Relation, World, copy_text, parse

TINY = Sizes(batch_bytes=400, table_bytes=300, pending_bytes=500, piece_bytes=64, compact_rows=6)


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
        elif not world.streams:
            world.ddl()


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
    fold = DatabaseFold(world.schemas, limit=limit, sizes=sizes)
    fold.checkpoint(baseline)
    for placed in world.placed[placed_before:]:
        if not fold.feed(placed):
            break
    summary = fold.finish()
    assert summary.notes == []
    check(world, fold, expected.tables, parts)
    if expected is not states[0]:
        assert summary.last is not None
        assert (summary.last.end_lsn, summary.last.seq) == (expected.end_lsn, expected.seq)


@pytest.mark.parametrize("seed", range(3))
def test_fold_of_long_histories(seed: int) -> None:
    """A long schedule in small batches ends as the model does."""
    world = a_world(Random(seed))
    baseline, parts = world.snapshot(list(world.tables), world.tables, world.visible())
    run(world, 400)
    fold = DatabaseFold(world.schemas, sizes=TINY)
    fold.checkpoint(baseline)
    for placed in world.placed:
        fold.feed(placed)
    fold.finish()
    check(world, fold, world.states[-1].tables, parts)
