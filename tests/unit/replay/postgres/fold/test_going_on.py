"""Folding in steps: what one fold leaves is what the next begins with, as a folded checkpoint has it."""

from __future__ import annotations

from random import Random

from hypothesis import HealthCheck, Phase, assume, event, given, settings
from hypothesis import strategies as st

from archiver.journal.entry import Kind
from archiver.journal.parts import Part as Stored
from archiver.postgres.checkpoint_records import KnownRelation
from archiver.postgres.lsn import format_lsn, parse_lsn
from archiver.postgres.records import Snapshot, TableRows
from archiver.replay.postgres.decode.commit_reader import CommitReader
from archiver.replay.postgres.fold.database import DatabaseFold, Limit, Sizes
from tests.unit.replay.postgres.fold.test_database import TINY, a_world, check, run
from tests.unit.replay.postgres.memory_spill import MemorySpill
from tests.unit.replay.postgres.world import State, World


@given(random=st.randoms(use_true_random=False), steps=st.integers(0, 60), sizes=st.sampled_from([TINY, Sizes()]))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.reuse, Phase.generate])
def test_steps_lead_where_one_fold_does(random: Random, steps: int, sizes: Sizes) -> None:
    """From a baseline to a random commit at which nothing is unfinished, from there to another, and from there to a point."""
    world = a_world(random)
    base, texts = world.snapshot(list(world.tables), world.tables, world.visible())
    world.record(0, world.seq - 1)
    world.put(Kind.PG_STREAM, [b"{}"])
    run(world, steps)
    states = world.states
    places = sorted(random.choices(range(len(states)), k=3))
    known: list[KnownRelation] = []
    first = 0
    for place in places:
        fold = DatabaseFold(
            world.schemas[first:], limit=Limit(seq=states[place].seq), sizes=sizes, spill=random.choice([None, MemorySpill()])
        )
        fold.checkpoint(base)
        fold.describe(known)
        for placed in world.placed:
            if placed.first + placed.run.count > base.replay_from:
                fold.feed(placed.since(base.replay_from) if placed.run.kind is Kind.PG_FRAMES else placed)
        fold.finish()
        check(world, fold, states[place].tables, texts)
        if place is places[-1]:
            return
        at = schema_of(world, states[place])
        assume(at is not None and not begun_before(world, states[place].seq + 1))
        event("a step")
        first = at or 0
        base, texts = taken(world, fold, states[place], texts)
        known = fold.described()


def begun_before(world: World, seq: int) -> int:
    """How many transactions were sent in part before entry ``seq``."""
    reader = CommitReader()
    for placed in world.placed:
        reader.feed(placed)
    reader.flush()
    return reader.begun_before(seq)


def schema_of(world: World, state: State) -> int | None:
    """Index of the schema entry that is certain there and was written before."""
    before = [index for index, schema in enumerate(world.schemas) if parse_lsn(schema.lsn) <= state.end_lsn]
    tables = {table.oid: table for table in world.schemas[before[-1]].catalog.tables}
    for oid, table in state.tables.items():
        if [(part.attnum, part.name) for part in table.parts] != [(each.attnum, each.name) for each in tables[oid].columns]:
            return None
    return before[-1]


def taken(world: World, fold: DatabaseFold, state: State, texts: dict[int, bytes]) -> tuple[Snapshot, dict[int, bytes]]:
    """What a folded checkpoint at ``state`` would hold."""
    rows, found = [], {}
    for oid, table in state.tables.items():
        kept = [part for part in table.parts if not part.generated]
        output = fold.table(oid).output([part.attnum for part in kept])
        pieces = [*(output.part(texts[oid]) if fold.table(oid).base else ()), *output.rest()]
        found[oid] = b"".join(bytes(piece) for piece in pieces)
        part = Stored("parts/db/1/000000.zst", len(table.rows), 0, len(found[oid]), "")
        names, attnums = [part.name for part in kept], [part.attnum for part in kept]
        rows.append(TableRows(oid, "public", table.name, table.mode, names, attnums, [part]))  # type: ignore[arg-type]
    lsn = format_lsn(state.end_lsn)
    return Snapshot(lsn, "", state.time, state.seq + 1, rows, cause="folded", floor=lsn), found
