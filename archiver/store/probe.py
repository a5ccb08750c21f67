"""Does this store keep the promises of ``protocol``? Asked at every start, before anything is written.

Stores that accept ``If-None-Match`` and overwrite all the same exist; on them two archivers, or one and its own late request, destroy each
other's history without a sign. Nothing that a store says of itself is believed here: only what it does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar, cast

from archiver.clock import Clock
from archiver.errors import ArchiverError, Refused
from archiver.pages import page
from archiver.store.protocol import Store

_T = TypeVar("_T")

PREFIX = "probe/"

RACED_KEYS = 4
RACERS = 8
TIDY_SECONDS = 3.0

FENCING = ("create-if-absent", "racing create-if-absent")
"""The checks that ``allow_unfenced`` gives up. The others nothing can do without."""

DELETE = "delete"


@dataclass(frozen=True)
class ProbeReport:
    """``passed``: names of the checks that held, in order. ``failed``: name and finding of those that did not but are not insisted on."""

    passed: tuple[str, ...]
    failed: tuple[tuple[str, str], ...] = ()

    @property
    def fenced(self) -> bool:
        """Whether two writers cannot destroy each other's history."""
        return not any(name in FENCING for name, _ in self.failed)


class _FailedCheck(Exception):
    """A check's finding."""


async def probe(store: Store, clock: Clock, *, allow_unfenced: bool = False) -> ProbeReport:
    """Write, race, read, list and delete a few small objects below ``probe/``, a name of their own at every call.

    Raises ``Refused`` that names the first failed check and what was found; with ``allow_unfenced`` a failed check of create-if-absent is
    reported instead. Other errors as the store raises them. What was written is deleted where the store lets us; a writer that
    may not delete is a good thing to have, so that is reported only.
    """
    base = f"{PREFIX}{clock.unique()}/"
    checks: tuple[tuple[str, Callable[[Store, str], Awaitable[None]]], ...] = (
        ("read after write", _read_after_write),
        ("size", _size),
        ("ranged read", _ranged_read),
        (FENCING[0], _create_if_absent),
        (FENCING[1], _race),
        ("list order", _list_order),
        (DELETE, _delete),
    )
    passed, failed = [], []
    try:
        for at, (name, check) in enumerate(checks):
            try:
                await check(store, f"{base}{at}/")
            except _FailedCheck as finding:
                if not (allow_unfenced and name in FENCING):
                    raise Refused(f"{store.url}: the store fails the check {name!r}: {finding}", hint=_hint(name)) from None
                failed.append((name, str(finding)))
            except ArchiverError as error:
                if name != DELETE:
                    raise
                failed.append((name, error.message))
            else:
                passed.append(name)
    finally:
        await _tidy(store, base)
    return ProbeReport(tuple(passed), tuple(failed))


async def _read_after_write(store: Store, base: str) -> None:
    for size in (0, 1, 4096):
        data = bytes(n * 31 % 251 for n in range(size))
        _expect(await store.put_if_absent(f"{base}{size}", data), "a new key is said to exist")
        _expect(await store.get(f"{base}{size}") == data, f"an object of {size} bytes is not read back as it was written")
    _expect(await store.get(f"{base}none") is None, "an object that was never written is found")


async def _size(store: Store, base: str) -> None:
    await store.put_if_absent(f"{base}a", b"x" * 1000)
    _expect(await store.size(f"{base}a") == 1000, "the size of an object of 1000 bytes is wrong")
    _expect(await store.size(f"{base}b") is None, "an object that was never written has a size")


async def _ranged_read(store: Store, base: str) -> None:
    data = bytes(range(200))
    await store.put_if_absent(f"{base}a", data)
    _expect(await store.get(f"{base}a", 10, 20) == data[10:30], "a range from the middle is wrong")
    _expect(await store.get(f"{base}a", -20) == data[-20:], "a range at the end is wrong")


async def _create_if_absent(store: Store, base: str) -> None:
    await store.put_if_absent(f"{base}a", b"first")
    again = await store.put_if_absent(f"{base}a", b"second")
    _expect(await store.get(f"{base}a") == b"first", "the second put of a key overwrote the first")
    _expect(not again, "the second put of a key is said to have created it")


async def _race(store: Store, base: str) -> None:
    async def one(key: str) -> None:
        outcomes = await _all(store.put_if_absent(key, b"racer %d" % n) for n in range(RACERS))
        winners = outcomes.count(True)
        _expect(winners == 1, f"of {RACERS} racing puts of one key {winners} are said to have created it")
        found = await store.get(key)
        _expect(found == b"racer %d" % outcomes.index(True), "the object is not the one of the put that is said to have created it")

    await _all(one(f"{base}{n}") for n in range(RACED_KEYS))


async def _list_order(store: Store, base: str) -> None:
    keys = [f"{base}{n:016x}" for n in (0, 1, 2, 9, 10, 15, 16, 255, 256)]
    for key in reversed(keys):
        await store.put_if_absent(key, b"")
        _expect(key in await store.list(base), "an object that was just written is not listed")
    _expect(await store.list(base) == keys, "keys are not listed in order")
    _expect(await store.list(base, after=keys[3]) == keys[4:], "a list after a key does not begin with the next")
    _expect(await store.list(base, after=keys[3], limit=2) == keys[4:6], "a limited list after a key is wrong")


async def _delete(store: Store, base: str) -> None:
    await store.put_if_absent(f"{base}a", b"x")
    await store.delete(f"{base}a")
    _expect(await store.get(f"{base}a") is None, "a deleted object is still read")
    _expect(await store.list(base) == [], "a deleted object is still listed")


async def _tidy(store: Store, base: str) -> None:
    # What is left below probe/ is in nobody's way; a store that hangs would hold up a stop.
    with contextlib.suppress(ArchiverError, TimeoutError):
        async with asyncio.timeout(TIDY_SECONDS):
            await _all(store.delete(key) for key in await store.list(base))


async def _all(calls: Iterable[Awaitable[_T]]) -> list[_T]:
    """Results in order, once every call has ended; then the first failure, if any."""
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return cast(list[_T], outcomes)


def _expect(held: bool, finding: str) -> None:
    if not held:
        raise _FailedCheck(finding)


def _hint(name: str) -> str:
    if name in FENCING:
        return (
            f"use another store or a newer version of it ({page('reference/stores.md')}); or archive.allow_unfenced_store: true, and then"
            " make sure yourself that never more than one archiver runs"
        )
    return f"the journal cannot be kept there; see {page('reference/stores.md')} for stores that work"
