"""``packs.*``: requests to the store before and after small segments were packed, in an archive of so many.

    python -m benchmarks.pack_requests [segments]

Behind a database's baseline stand so many segments of three changes each, ten seconds apart, which nothing has folded. Requests do not vary
with the machine, so one run is enough: reading what a restore to the end reads, all of the journal, a verify, the tail that status and
cadence look at, the start of a writer, and a round of packing, the first one and one that finds nothing to do.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from archiver.clock import SystemClock
from archiver.journal.kept_segments import KeptSegments
from archiver.journal.reader import Reader
from archiver.journal.verifier import verify
from archiver.journal.writer import Writer, WriterLimits
from archiver.maintenance.packing import pack_segments
from archiver.maintenance.tails import tail_behind
from archiver.replay.points import parse_point
from archiver.replay.postgres.plan.planner import plan_restore
from archiver.store.directory import DirectoryStore
from benchmarks.capturing import quiet, scratch
from benchmarks.forged import SOURCE, changes_of_rows
from benchmarks.report import emit
from benchmarks.start_archive import CountingStore

SEGMENTS = 20_000
APART = 3_333_333
"""Microseconds from one change to the next."""


async def restore(store: CountingStore) -> None:
    """What a restore of the journal's end reads of it: its plan. It folds from what that keeps on this machine's disk."""
    with KeptSegments() as kept:
        await plan_restore(Reader(store, kept=kept), SOURCE, parse_point("latest"))


async def everything(store: CountingStore) -> None:
    reader = Reader(store)
    await reader.last()
    async for _ in reader.read(0):
        pass


async def verified(store: CountingStore) -> None:
    report = await verify(store, deep=True)
    assert report.ok
    assert not report.bad_packs


async def status(store: CountingStore) -> None:
    await tail_behind(Reader(store), SystemClock(), SOURCE)


async def start(store: CountingStore) -> None:
    limits = WriterLimits(takeover_after_seconds=0.1)
    writer = await Writer.open(store, SystemClock(), instance="bench", version="0", sources={SOURCE: "bench"}, limits=limits)
    await writer.close()


async def pack(store: CountingStore) -> None:
    async for _ in pack_segments(Reader(store, packs=False), SystemClock()):
        pass


ASKED: dict[str, Callable[[CountingStore], Awaitable[None]]] = {
    "restore": restore,
    "walk": everything,
    "verify": verified,
    "status": status,
}


async def counted(folder: Path, work: Callable[[CountingStore], Awaitable[None]]) -> dict[str, int]:
    store = CountingStore(DirectoryStore(folder))
    await work(store)
    await store.close()
    return dict(store.requests)


def text(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))


async def measured(folder: Path, segments: int) -> None:
    await changes_of_rows(folder, 3 * segments, per_transaction=3, apart=APART, per_run=3)
    before = {name: await counted(folder, work) for name, work in ASKED.items()}
    packing, again = await counted(folder, pack), await counted(folder, pack)
    for name, work in ASKED.items():
        after = await counted(folder, work)
        emit(
            f"packs.{name}",
            float(sum(after.values())),
            "requests",
            peer="without packs",
            peer_value=float(sum(before[name].values())),
            less_is_better=True,
            segments=segments,
            kinds=text(after),
            peer_kinds=text(before[name]),
        )
    emit("packs.start", float(sum((await counted(folder, start)).values())), "requests", segments=segments)
    emit(
        "packs.round",
        float(sum(packing.values())),
        "requests",
        segments=segments,
        kinds=text(packing),
        kinds_with_nothing_to_do=text(again),
    )


def main(segments: int) -> None:
    quiet()
    with scratch() as folder:
        asyncio.run(measured(folder, segments))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else SEGMENTS)
