"""The journal's end, wherever the search for it happens to look."""

from __future__ import annotations

import pytest

from archiver.journal.keys import segment_key
from archiver.journal.last_segment import last_segment
from archiver.journal.segment import HEAD_MAGIC
from tests.simulation.loop import play
from tests.unit.journal.scripted import ScriptedStore


@pytest.mark.parametrize("stray", [b"", b"x", b"ARCH"])
def test_a_stray_is_no_end(stray: bytes) -> None:
    """At any distance behind an end of any number it is a stray, and hides nothing; so is what the search leaps to first."""

    async def story() -> None:
        for count in range(1, 20):
            for behind in range(2, 20):
                store = ScriptedStore()
                for number in range(count):
                    store.create(segment_key(number), HEAD_MAGIC)
                key = segment_key(count - 1 + behind)
                store.create(key, stray)
                found = await last_segment(store)
                assert (found.number, found.hole, found.strays) == (count - 1, None, (key,)), (count, behind)

    play(story())


def test_what_does_not_begin_like_a_segment_has_its_number_all_the_same() -> None:
    """Between segments, or right behind the last one, it is damage and no stray: the end is behind it."""

    async def story() -> None:
        for count in range(1, 20):
            for bad in range(count + 1):
                store = ScriptedStore()
                for number in range(max(count, bad + 1)):
                    store.create(segment_key(number), b"x" if number == bad else HEAD_MAGIC)
                found = await last_segment(store)
                assert (found.number, found.hole, found.strays) == (max(count - 1, bad), None, ()), (count, bad)

    play(story())
