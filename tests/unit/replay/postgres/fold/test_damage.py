"""Frames that are not what a server sends: refused with Corrupt, never with anything else, never by hanging."""

from __future__ import annotations

from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archiver.errors import Corrupt
from archiver.journal.entry import Kind, Placed, Run
from archiver.replay.postgres.fold.database import DatabaseFold
from tests.unit.replay.postgres.fold.test_database import TINY, a_world, run
from tests.unit.replay.postgres.world import World


def damaged(world: World, random: Random) -> list[Placed]:
    """One body of one run with some bytes changed, cut or left out."""
    placed = list(world.placed)
    chosen = random.choice([place for place, one in enumerate(placed) if one.run.kind is Kind.PG_FRAMES])
    one = placed[chosen]
    bodies = [bytearray(body) for body in one.run.bodies()]
    body = random.choice(bodies)
    for _ in range(random.randint(1, 3)):
        what = random.choice(["byte", "byte", "cut", "drop", "grow"])
        if what == "byte" and len(body) > 25:
            body[random.randrange(25, len(body))] = random.choice(
                [0, 1, 255, ord("t"), ord("n"), ord("u"), ord("K"), ord("I"), random.randrange(256)]
            )
        elif what == "cut":
            del body[random.randint(1, len(body)) :]
        elif what == "grow":
            body += random.randbytes(random.randint(1, 9))
        elif what == "drop" and len(bodies) > 1:
            bodies = [other for other in bodies if other is not body]
    placed[chosen] = Placed(one.first, 0, 1, 0, Run.of("db", Kind.PG_FRAMES, [bytes(body) for body in bodies], observed=0))
    return placed


@given(random=st.randoms(use_true_random=False), steps=st.integers(1, 20))
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_damage_is_corrupt_or_harmless(random: Random, steps: int) -> None:
    """A damaged journal gives Corrupt, or rows that are at least COPY text."""
    world = a_world(random)
    baseline, parts = world.snapshot(list(world.tables), world.tables, world.visible())
    world.put(Kind.PG_STREAM, [b"{}"])
    world.transaction(4)
    run(world, steps)
    fold = DatabaseFold(world.schemas, sizes=TINY, strict=random.random() < 0.5)
    fold.checkpoint(baseline)
    try:
        for placed in damaged(world, random):
            fold.feed(placed)
        fold.finish()
        for oid in world.tables:
            state = fold.table(oid)
            output = state.output([1, 2])
            texts = list(output.part(parts[oid])) if state.base else []
            assert b"".join([*texts, *output.rest()]).count(b"\n") == output.rows
    except Corrupt:
        pass
