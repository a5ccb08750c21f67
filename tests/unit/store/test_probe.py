"""The start-up probe finds each way in which a store can break its promises."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from archiver.clock import SystemClock
from archiver.errors import Refused, Unavailable
from archiver.store.directory import DirectoryStore
from archiver.store.memory import MemoryStore
from archiver.store.probe import FENCING, PREFIX, probe


class Overwrites(MemoryStore):
    """Says that it created, and overwrites: the header is ignored."""

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        self.replace(key, data)
        return True


class OverwritesTruly(MemoryStore):
    """Answers as if it had kept the first, and overwrites."""

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        new = self.peek(key) is None
        self.replace(key, data)
        return new


class ChecksThenActs(MemoryStore):
    """Looks, waits, writes: right one by one, wrong in a race."""

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        if self.peek(key) is not None:
            return False
        await asyncio.sleep(0.001)
        self.replace(key, data)
        return True


class LosesAll(MemoryStore):
    """Tells every racer that somebody else was first."""

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        return self.create(key, data) and b"racer" not in data


class ReadsStale(MemoryStore):
    """Does not show what was just written."""

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        return None


class IgnoresRanges(MemoryStore):
    """Answers every ranged read with the whole."""

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        return self.peek(key)


class ListsLate(MemoryStore):
    """Does not list the newest key."""

    async def list(self, prefix: str, after: str = "", limit: int | None = None) -> list[str]:
        return (await super().list(prefix, after, limit))[:-1]


class ListsUnordered(MemoryStore):
    """Lists in an order of its own."""

    async def list(self, prefix: str, after: str = "", limit: int | None = None) -> list[str]:
        return sorted(await super().list(prefix, after), key=hash)[:limit]


class SizesWrong(MemoryStore):
    """Has sizes for everything."""

    async def size(self, key: str) -> int | None:
        return 1000


class KeepsAll(MemoryStore):
    """Says that it deleted."""

    async def delete(self, key: str) -> None:
        return


class MayNotDelete(MemoryStore):
    """Denies the right to delete, as a careful administrator would."""

    async def delete(self, key: str) -> None:
        raise Unavailable("AccessDenied")


class Fails(MemoryStore):
    """Is not there."""

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        raise Unavailable("no answer")


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (Overwrites, "create-if-absent"),
        (OverwritesTruly, "create-if-absent"),
        (ChecksThenActs, "racing create-if-absent"),
        (LosesAll, "racing create-if-absent"),
        (ReadsStale, "read after write"),
        (IgnoresRanges, "ranged read"),
        (ListsLate, "list order"),
        (ListsUnordered, "list order"),
        (SizesWrong, "size"),
        (KeepsAll, "delete"),
    ],
)
async def test_names_the_failed_check(kind: type[MemoryStore], check: str) -> None:
    """Each broken store is refused by the name of the promise that it breaks; only the fencing ones may be given up."""
    with pytest.raises(Refused, match=f"fails the check '{check}'") as caught:
        await probe(kind(), SystemClock())
    assert ("allow_unfenced_store" in caught.value.hint) == (check in FENCING)
    if check in FENCING:
        report = await probe(kind(), SystemClock(), allow_unfenced=True)
        assert not report.fenced
        assert check in [name for name, _ in report.failed]
    else:
        with pytest.raises(Refused):
            await probe(kind(), SystemClock(), allow_unfenced=True)


async def test_good_store_is_left_clean() -> None:
    """A good store passes every check, twice, and holds nothing afterwards."""
    store = MemoryStore()
    for _ in range(2):
        report = await probe(store, SystemClock())
        assert report.fenced
        assert not report.failed
    assert await store.list("") == []


async def test_a_store_that_denies_deletion_is_good() -> None:
    """A writer without the right to delete may start; what the probe wrote stays below its prefix."""
    store = MayNotDelete()
    report = await probe(store, SystemClock())
    assert report.fenced
    assert report.failed == (("delete", "AccessDenied"),)
    assert all(key.startswith(PREFIX) for key in await store.list(""))


async def test_unavailable_is_no_verdict() -> None:
    """A store that does not answer is unavailable, not refused."""
    with pytest.raises(Unavailable):
        await probe(Fails(), SystemClock(), allow_unfenced=True)


async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """Of an archive that is a directory, no folder either."""
    store = DirectoryStore(tmp_path)
    await probe(store, SystemClock())
    assert [path.name for path in tmp_path.iterdir()] == ["~tmp"]
    await store.close()
