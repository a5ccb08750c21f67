"""Deleting what a boundary left behind. It may stop anywhere, and be done by several at once: the boundary has said already what counts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from archiver.journal.keys import CHECKPOINTS, HOLDS, PACKS, PARTS, SEGMENTS, number_of, pack_span, plan_key
from archiver.retention.retirement_plan import open_plans

if TYPE_CHECKING:
    from archiver.journal.boundary import Boundary
    from archiver.store.protocol import Store

_AT_ONCE = 16
_BATCH = 256
"""After so many deletions holds are looked for again."""
_PAGE = 1000


async def clean_up(store: Store, boundary: Boundary) -> int:
    """Delete what ``boundary`` retired and is still there, in an order in which nothing names what is gone already; how many objects.

    Ends early, with the rest for later, once there is a hold.
    """
    plans = await open_plans(store)
    ours = next((plan for plan in plans if plan.identity == boundary.plan), None)
    count = 0
    if ours is not None:
        for keys in (
            [key for key in ours.checkpoints if key.startswith(CHECKPOINTS)],
            [key for key in ours.parts if key.startswith(PARTS)],
        ):
            for at in range(0, len(keys), _BATCH):
                if await _is_held(store):
                    return count
                count += await _delete(store, keys[at : at + _BATCH])
    # Copies of what goes, and of what stands behind it: of that the next round of packing makes others.
    packs = await _retired_packs(store, boundary.first)
    for at in range(0, len(packs), _BATCH):
        if await _is_held(store):
            return count
        count += await _delete(store, packs[at : at + _BATCH])
    extent, after = boundary.extent, ""
    while keys := await store.list(SEGMENTS, after=after, limit=_PAGE):
        after = keys[-1]
        # What has no number is not ours.
        old = [key for key in keys if (number := number_of(key)) is not None and number < boundary.first and number not in extent]
        for at in range(0, len(old), _BATCH):
            if await _is_held(store):
                return count
            count += await _delete(store, old[at : at + _BATCH])
        last = number_of(after)
        if last is not None and last >= boundary.first:
            break
    for plan in plans:
        if plan.after < boundary.number:
            await store.delete(plan_key(plan.identity))
    return count


async def _retired_packs(store: Store, first: int) -> list[str]:
    """Keys of packs that have anything before ``first``."""
    found, after = list[str](), ""
    while keys := await store.list(PACKS, after=after, limit=_PAGE):
        after = keys[-1]
        spans = [(key, span) for key in keys if (span := pack_span(key)) is not None]
        found += [key for key, span in spans if span[0] < first]
        if spans and spans[-1][1][0] >= first:
            break
    return found


async def _is_held(store: Store) -> bool:
    return bool(await store.list(HOLDS, limit=1))


async def _delete(store: Store, keys: list[str]) -> int:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(key: str) -> None:
        async with gate:
            await store.delete(key)

    await asyncio.gather(*map(one, keys))
    return len(keys)
