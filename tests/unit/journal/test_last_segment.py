"""The journal's end, wherever the search for it happens to look."""

from __future__ import annotations

import pytest

from archiver.journal.keys import segment_key
from archiver.journal.last_segment import last_segment, segment_keys, strays_of
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


def test_what_is_written_meanwhile_is_no_stray() -> None:
    """Behind the end that was found, one after the other; what is no segment there, or stands further on, is a stray."""

    async def story() -> None:
        store = ScriptedStore()
        for number in range(8):
            store.create(segment_key(number), HEAD_MAGIC)
        assert await strays_of(store, 5) == []
        store.create(segment_key(8), b"x")
        store.create(segment_key(11), HEAD_MAGIC)
        assert await strays_of(store, 5) == [segment_key(8), segment_key(11)]

    play(story())


def test_a_long_journal_is_listed_in_few_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """All keys, each once and in order; a local directory reads all its names for each page."""

    async def story() -> None:
        store, pages = ScriptedStore(), list[int]()
        for number in range(60_000):
            store.create(segment_key(number), b"")
        listed = store.list

        async def noted(prefix: str, after: str = "", limit: int | None = None) -> list[str]:
            pages.append(limit or 0)
            return await listed(prefix, after, limit)

        monkeypatch.setattr(store, "list", noted)
        assert [key async for key in segment_keys(store)] == [segment_key(number) for number in range(60_000)]
        assert pages == [1000, 4000, 16_000, 32_000, 32_000, 32_000]

    play(story())
