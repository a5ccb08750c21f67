"""What ``archiver.store.protocol`` promises, for every store, on real servers."""

from __future__ import annotations

import asyncio
import os

import pytest

from archiver.errors import Invalid
from archiver.store.protocol import Store


async def test_create_once(store: Store) -> None:
    """The first put of a key creates it, every later one is refused and changes nothing."""
    assert await store.put_if_absent("journal/0000000000000000", b"first")
    assert not await store.put_if_absent("journal/0000000000000000", b"second")
    assert not await store.put_if_absent("journal/0000000000000000", b"first")
    assert await store.get("journal/0000000000000000") == b"first"


async def test_one_of_many_wins(store: Store) -> None:
    """Of writers that race for one key exactly one is told that it created it, and its bytes are there."""

    async def race(key: str) -> None:
        outcomes = await asyncio.gather(*(store.put_if_absent(key, b"writer %d" % n) for n in range(8)))
        assert outcomes.count(True) == 1
        assert await store.get(key) == b"writer %d" % outcomes.index(True)

    await asyncio.gather(*(race(f"race/{n}") for n in range(4)))


async def test_read_what_was_written(store: Store) -> None:
    """Bytes of every size come back as they went in, at once."""
    for size in (0, 1, 1000, 70_000, 5_000_000):
        data = os.urandom(size)
        assert await store.put_if_absent(f"parts/db/{size}", data)
        assert await store.get(f"parts/db/{size}") == data
        assert await store.size(f"parts/db/{size}") == size


async def test_ranges(store: Store) -> None:
    """A range is cut at the object's end; negative starts count from there; beyond it there is nothing."""
    data = bytes(range(100))
    await store.put_if_absent("object", data)
    for start in (0, 1, 50, 99, 100, 101, 1000, -1, -50, -100, -1000):
        for length in (None, 0, 1, 49, 50, 1000):
            first = max(0, 100 + start) if start < 0 else start
            expected = data[first:] if length is None else data[first : first + length]
            assert await store.get("object", start, length) == expected, (start, length)


async def test_ranges_of_an_empty_object(store: Store) -> None:
    """An empty object has empty ranges, which is not the same as no object."""
    await store.put_if_absent("empty", b"")
    for start, length in ((0, None), (0, 0), (0, 5), (3, None), (-3, None), (-3, 2)):
        assert await store.get("empty", start, length) == b"", (start, length)


async def test_missing(store: Store) -> None:
    """What does not exist is ``None`` or not listed, and may be deleted."""
    assert await store.get("nothing") is None
    assert await store.get("nothing", 5, 5) is None
    assert await store.get("nothing", -5) is None
    assert await store.get("nothing", 0, 0) is None
    assert await store.size("nothing") is None
    assert await store.list("nothing") == []
    assert await store.list("nothing/below/it") == []
    await store.delete("nothing")
    await store.put_if_absent("some/thing", b"x")
    assert await store.get("some/thing/below") is None
    assert await store.get("some") is None
    assert await store.size("some") is None


async def test_list_in_order(store: Store) -> None:
    """Keys come in code point order, after ``after``, ``limit`` at most, and only those with the prefix."""
    keys = ["a", "a-b", "a.b/c", "b/1", "b/10", "b/2", "b=c", "bb/x", "b/sub/1/1", "b/sub/2", "B/1", "_/x", "z"]
    await asyncio.gather(*(store.put_if_absent(key, key.encode()) for key in keys))
    for prefix in ("", "a", "b", "b/", "b/1", "b/sub", "b/sub/", "b/sub/1", "c", "z", "zz"):
        wanted = sorted(key for key in keys if key.startswith(prefix))
        assert await store.list(prefix) == wanted, prefix
        for after in ("b/1", "b/sub/1/1", "b/sub/0", "a", "b/3", "zz", "A", "b0"):
            later = [key for key in wanted if key > after]
            assert await store.list(prefix, after) == later, (prefix, after)
            assert await store.list(prefix, after, 2) == later[:2], (prefix, after)
    assert await store.list("", limit=3) == sorted(keys)[:3]
    assert await store.list("", limit=0) == []


async def test_whole_list_in_order_beside_folders(store: Store) -> None:
    """A whole list is in order even where a folder has siblings that begin with its name."""
    keys = ["a/b", "a-b", "a.b/c", "a/sub/x", "a/sub-x", "a/sub.1/y", "a/sub=z"]
    await asyncio.gather(*(store.put_if_absent(key, b"") for key in keys))
    for prefix in ("", "a", "a/", "a/sub"):
        assert await store.list(prefix) == sorted(key for key in keys if key.startswith(prefix)), prefix


async def test_list_more_than_a_page(store: Store) -> None:
    """A list longer than any page of a server is whole."""
    keys = [f"journal/{n:016x}" for n in range(1100)]
    for at in range(0, len(keys), 50):
        await asyncio.gather(*(store.put_if_absent(key, b"") for key in keys[at : at + 50]))
    assert await store.list("journal/") == keys
    assert await store.list("journal/", keys[3], 1050) == keys[4:1054]


async def test_delete(store: Store) -> None:
    """A deleted key is gone at once and may be created again."""
    await store.put_if_absent("probe/x", b"1")
    await store.delete("probe/x")
    assert await store.get("probe/x") is None
    assert await store.list("probe/") == []
    assert await store.put_if_absent("probe/x", b"2")
    assert await store.get("probe/x") == b"2"


async def test_keys_that_no_store_takes(store: Store) -> None:
    """A key outside the alphabet, or one that leads out of the archive, is refused by every call before anything happens."""
    for key in ("", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/.", "~tmp/x", "a b", "a\x00b", "ä", "a\n", "x" * 600):
        for call in (store.put_if_absent(key, b"x"), store.get(key), store.size(key), store.delete(key)):
            with pytest.raises(Invalid):
                await call


async def test_cancelled_put_leaves_all_or_nothing(store: Store) -> None:
    """A put that is cancelled leaves the whole object or none."""
    data = os.urandom(3_000_000)
    tasks = [asyncio.create_task(store.put_if_absent(f"cancelled/{n}", data)) for n in range(6)]
    for n, task in enumerate(tasks):
        await asyncio.sleep(0.002 * n)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for n in range(6):
        assert await store.get(f"cancelled/{n}") in (None, data)


async def test_url_names_the_place(store: Store) -> None:
    """The URL has a scheme and no credentials."""
    assert store.url.partition(":")[0] in ("memory", "file", "s3")
    assert "@" not in store.url
