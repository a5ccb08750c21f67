"""Whether a folded checkpoint serves instead of full lists."""

from __future__ import annotations

import asyncio

from archiver.capture.kubernetes.folded_base import LOOK_SECONDS, FoldedBase
from archiver.clock import SystemClock
from archiver.errors import Unavailable
from archiver.journal.keys import CHECKPOINTS
from archiver.journal.reader import Reader
from archiver.maintenance.cluster_folding import fold_cluster
from tests.simulation.loop import inline
from tests.unit.capture.set_clock import SetClock
from tests.unit.replay.kubernetes.past import Past

HOUR = 3600.0


def listed() -> Past:
    """Both streams are listed once."""
    past = Past(7)
    past.times = [5]
    for stream in past.streams:
        stream.live()
        past.read(stream, "start")
    past.flush()
    return past


async def fold(past: Past) -> None:
    assert (
        await fold_cluster(Reader(past.forgery.store, offload=inline), SystemClock(), "kube", until=past.forgery.number - 1)
    ).reason == ""


def base(past: Past, clock: SetClock, heartbeat: float = 10.0) -> FoldedBase:
    return FoldedBase(lambda: Reader(past.forgery.store, offload=inline), "kube", clock, heartbeat)


def test_a_checkpoint_serves_for_some_hours() -> None:
    """Each stream by what the checkpoint has of it; longer where heartbeats are far apart, and so checkpoints are."""

    async def story() -> None:
        past, clock = listed(), SetClock(100.0)
        stream = past.streams[0].name
        found = base(past, clock)
        assert not await found.serves(stream)
        await fold(past)
        # All streams share a look.
        assert not await found.serves(stream)
        clock.seconds += LOOK_SECONDS
        assert [await found.serves(name) for name in (stream, past.streams[1].name, "kube/g.io/others")] == [True, True, False]
        clock.seconds = 2.9 * HOUR
        assert await found.serves(stream)
        clock.seconds = 3.1 * HOUR
        assert not await found.serves(stream)
        assert await base(past, clock, heartbeat=60.0).serves(stream)

    asyncio.run(story())


def test_whatever_is_wrong_means_that_none_serves() -> None:
    """An archive without a segment, a checkpoint that is gone, a store that does not answer."""

    async def story() -> None:
        past, clock = listed(), SetClock(100.0)
        stream, store = past.streams[0].name, past.forgery.store
        await fold(past)
        assert await base(past, clock).serves(stream)
        (key,) = store.names(CHECKPOINTS, "", None)
        body = store.peek(key) or b""
        store.replace(key, body[:-9])
        assert not await base(past, clock).serves(stream)
        store.replace(key, body)

        async def away(*_: object, **__: object) -> list[str]:
            raise Unavailable("the store is away")

        store.list = away  # type: ignore[method-assign]
        found = base(past, clock)
        assert not await found.serves(stream)
        del store.list
        clock.seconds += LOOK_SECONDS
        assert await found.serves(stream)

    asyncio.run(story())
