"""The newest checkpoint of a source at or before an entry."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.journal.checkpoints import newest_checkpoint
from archiver.journal.entry import Kind
from archiver.journal.reader import Reader
from tests.simulation.loop import inline, play
from tests.unit.journal.forge import Forgery, frames


@given(st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_the_newest_one_is_found(seed: int) -> None:
    """For every source and every entry number: the newest CHECKPOINT at or before it, wherever in whichever segment it stands."""

    async def story() -> None:
        rng = random.Random(seed)
        forgery = Forgery()
        forgery.open()
        checkpoints: dict[str, list[int]] = {"a": [], "b": []}
        for _ in range(rng.randint(0, 12)):
            if rng.random() < 0.2:
                stale = forgery.end
                forgery.open()
                forgery.void(stale, frames("a", b"void", kind=Kind.CHECKPOINT))
            runs, following = [], forgery.end.next
            for _ in range(rng.randint(0, 4)):
                source = rng.choice("ab")
                if rng.random() < 0.4:
                    runs.append(frames(source, b"checkpoint", kind=Kind.CHECKPOINT))
                    checkpoints[source].append(following)
                else:
                    runs.append(frames(source, *[b"x"] * rng.randint(1, 3)))
                following += runs[-1].count
            forgery.add(*runs)
        reader = Reader(forgery.store, offload=inline)
        for source, numbers in checkpoints.items():
            for seq in range(1, forgery.end.next + 2):
                expected = max((number for number in numbers if number <= seq), default=None)
                found = await newest_checkpoint(reader, source, seq)
                assert (found and found.first) == expected
                assert found is None or (found.run.kind is Kind.CHECKPOINT and found.run.source == source)
        assert await newest_checkpoint(reader, "unknown", 1) is None

    play(story())
