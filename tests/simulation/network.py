"""The store as one process sees it: latencies, lost answers, late landings, and its own death at any call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from archiver.errors import Unavailable

if TYPE_CHECKING:
    from tests.simulation.world import Process

T = TypeVar("T")


class Outcome(Enum):
    """What becomes of one call."""

    OK = "ok"
    BEFORE = "failed before it arrived"
    LOST = "worked, the answer was lost"
    LATE = "lands after the caller was told that it is unavailable"
    CRASH_BEFORE = "the caller dies, the call never arrived"
    CRASH_AFTER = "the caller dies, the call worked"
    CRASH_LATE = "the caller dies, the call lands later"

    @property
    def fatal(self) -> bool:
        return self in (Outcome.CRASH_BEFORE, Outcome.CRASH_AFTER, Outcome.CRASH_LATE)


class Network:
    """A ``Store`` handle of one process. What arrives is applied to the shared truth whatever becomes of the caller."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._world = process.world

    @property
    def url(self) -> str:
        return "memory:simulation"

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        return await self._call("put", key, lambda: self._world.truth.create(key, data))

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        return await self._call("get", key, lambda: _range(self._world.truth.peek(key), start, length))

    async def size(self, key: str) -> int | None:
        return await self._call("size", key, lambda: _size(self._world.truth.peek(key)))

    async def list(self, prefix: str, after: str = "", limit: int | None = None) -> list[str]:
        return await self._call("list", prefix, lambda: self._world.truth.names(prefix, after, limit))

    async def delete(self, key: str) -> None:
        raise AssertionError("the journal never deletes")

    async def close(self) -> None:
        pass

    async def _call(self, verb: str, key: str, act: Callable[[], T]) -> T:
        world, process = self._world, self._process
        if not process.alive:
            raise asyncio.CancelledError
        outcome = world.faults.next(verb, process.calls)
        process.calls += 1
        there, back = world.latency(), world.latency()
        applied: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def apply() -> None:
            result = act()
            world.trace(process.name, verb, key, outcome.name, result if verb in {"put", "size"} else None)
            if not applied.done():
                applied.set_result(result)

        if outcome in (Outcome.BEFORE, Outcome.CRASH_BEFORE):
            await asyncio.sleep(there)
        elif outcome in (Outcome.LATE, Outcome.CRASH_LATE):
            asyncio.get_running_loop().call_later(there + world.lateness(), apply)
            await asyncio.sleep(there)
        else:
            asyncio.get_running_loop().call_later(there, apply)
            await applied
            if outcome is not Outcome.CRASH_AFTER:
                await asyncio.sleep(back)
        if outcome.fatal:
            world.trace(process.name, "crash", verb, key, outcome.name)
            process.kill()
            await asyncio.get_running_loop().create_future()
        await process.thaw()
        if outcome is not Outcome.OK:
            raise Unavailable(f"{verb} {key}: {outcome.value}")
        return applied.result()


def _range(data: bytes | None, start: int, length: int | None) -> bytes | None:
    if data is None:
        return None
    first = max(0, start + len(data)) if start < 0 else start
    return data[first:] if length is None else data[first : first + length]


def _size(data: bytes | None) -> int | None:
    return None if data is None else len(data)
