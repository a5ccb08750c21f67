"""Becoming the writer: who is let be, who is fenced, and what happens when several try."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from archiver.errors import ArchiverError, Corrupt, Fenced, Unavailable
from archiver.journal import session
from archiver.journal.entry import Kind
from archiver.journal.identity import create_identity
from archiver.journal.keys import IDENTITY, segment_key
from archiver.journal.records import Session
from archiver.journal.verifier import verify
from archiver.store.memory import MemoryStore
from tests.simulation.loop import VirtualClock, inline, play
from tests.unit.journal.forge import Forgery, frames
from tests.unit.journal.living import opened, run_of, running, segment
from tests.unit.journal.scripted import ScriptedStore


def test_an_empty_store_becomes_an_archive() -> None:
    """The first writer creates identity and fence; the session names who, which version, which sources."""

    async def story() -> None:
        store = MemoryStore()
        writer = await opened(store)
        assert (writer.epoch, writer.durable_seq) == (1, 1)
        run = segment(store, 0).runs[0]
        assert run.kind is Kind.SESSION
        said = msgspec.json.decode(next(run.bodies()), type=Session)
        assert (said.epoch, said.instance, said.version, said.sources) == (1, "a", "1", {"db": "postgres"})
        assert segment(store, 0).header.archive == writer.archive

    play(story())


def test_the_same_instance_takes_over_at_once() -> None:
    """After a crash the same instance does not wait for its own ghost; numbers and marks go on."""

    async def story() -> None:
        store = MemoryStore()
        clock = VirtualClock()
        first = await opened(store, clock=clock)
        async with running(first):
            await first.durable(await first.append(run_of(position="5")))
        second = await opened(store, clock=clock)
        assert clock.monotonic() < 1
        assert (second.epoch, second.durable_seq) == (2, 3)
        assert second.marks["db"].position == "5"

    play(story())


def test_a_closed_journal_is_taken_at_once() -> None:
    """Another instance need not wait for one that ended in order."""

    async def story() -> None:
        store = MemoryStore()
        clock = VirtualClock()
        first = await opened(store, clock=clock)
        await first.close()
        assert (await opened(store, clock=clock, instance="b")).epoch == 2
        assert clock.monotonic() < 1

    play(story())


def test_a_living_writer_is_let_be() -> None:
    """Another instance waits as long as the journal moves, and takes over once it was silent for long enough."""

    async def story() -> None:
        store = MemoryStore()
        clock = VirtualClock()
        first = await opened(store, clock=clock, takeover_after_seconds=30.0)
        commit = asyncio.create_task(first.run())
        standby = asyncio.create_task(opened(store, clock=clock, instance="b", takeover_after_seconds=30.0))
        await asyncio.sleep(500)
        assert not standby.done()
        commit.cancel()
        with suppress(asyncio.CancelledError):
            await commit
        silent = clock.monotonic()
        assert (await standby).epoch == 2
        assert 19 < clock.monotonic() - silent < 32

    play(story())


def test_how_old_a_journal_looks_proves_nothing() -> None:
    """The writer's clock may be behind: only silence that was waited for counts."""

    async def story() -> None:
        store = MemoryStore()
        clock = VirtualClock()
        await opened(store, clock=clock)
        await asyncio.sleep(31)
        assert (await opened(store, clock=clock, instance="b")).epoch == 2
        assert 60 < clock.monotonic() < 64

    play(story())


def test_a_clock_behind_waits_for_silence() -> None:
    """A tail from the future proves nothing: the other instance is watched on one's own clock."""

    async def story() -> None:
        store = MemoryStore()
        await opened(store, clock=VirtualClock(2_000_000_000_000_000))
        clock = VirtualClock()
        second = await opened(store, clock=clock, instance="b")
        assert 30 <= clock.monotonic() < 33
        assert second.last_commit > 2_000_000_000_000_000

    play(story())


def test_closing_ends_the_wait() -> None:
    """A standby takes over as soon as the other says goodbye."""

    async def story() -> None:
        store = MemoryStore()
        clock = VirtualClock()
        first = await opened(store, clock=clock)
        standby = asyncio.create_task(opened(store, clock=clock, instance="b"))
        await asyncio.sleep(10)
        await first.close()
        await asyncio.sleep(2)
        assert (await standby).epoch == 2

    play(story())


def test_of_many_that_start_together_one_is_left() -> None:
    """Writers of the same instance that start at the same moment fence each other; the last fence writes, the others are told."""

    async def story() -> None:
        store = ScriptedStore()
        store.put_if_absent = MemoryStore.put_if_absent.__get__(store)  # type: ignore[method-assign]
        clock = VirtualClock()
        writers = await asyncio.gather(*(opened(store, clock=clock) for _ in range(8)))
        assert sorted(writer.epoch for writer in writers) == list(range(1, 9))
        ended = []
        for writer in writers:
            async with running(writer):
                try:
                    await writer.durable(await writer.append(run_of()))
                except Fenced:
                    ended.append(writer.epoch)
        assert sorted(ended) == list(range(1, 8))
        assert (await verify(store, offload=inline)).ok

    play(story())


def test_endless_conflicts_give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fence that loses its number again and again ends in ``Fenced`` with advice."""

    async def story() -> None:
        forgery = Forgery()
        forgery.open()
        monkeypatch.setattr(forgery.store, "put_if_absent", _contested(forgery))
        with pytest.raises(Fenced, match="5 segment numbers"):
            await opened(forgery.store)

    monkeypatch.setattr(session, "CONFLICTS", 5)
    play(story())


def _contested(forgery: Forgery) -> Callable[[str, bytes], Coroutine[Any, Any, bool]]:
    async def put(key: str, data: bytes) -> bool:
        forgery.add(frames("db", b"x"))
        return forgery.store.create(key, data)

    return put


@pytest.mark.parametrize("script", [["fail"], ["lose"], ["late"], ["lose", "fail"], ["late", "late", "late"]])
def test_an_uncertain_fence_is_settled(script: list[str]) -> None:
    """A fence whose PUT has no answer is tried again with the same bytes; its own fence read back is not a conflict."""

    async def story() -> None:
        store = ScriptedStore()
        store.script.extend(script)
        writer = await opened(store)
        assert writer.epoch == 1
        await asyncio.sleep(10)
        await writer.close()
        assert (await verify(store, offload=inline)).sessions == 1

    play(story())


def test_a_store_that_never_answers_is_unavailable() -> None:
    """Opening gives up after a while; a fence that lands afterwards does no harm to the next attempt."""

    async def story() -> None:
        store = ScriptedStore()
        store.script.extend(["late"] + ["fail"] * 100)
        store.seconds = 4.0
        with pytest.raises(Unavailable):
            await opened(store)
        store.script.clear()
        await asyncio.sleep(10)
        writer = await opened(store)
        assert writer.epoch == 2
        await writer.close()
        assert (await verify(store, offload=inline)).sessions == 2

    play(story())


def test_damage_at_the_end_is_not_written_over() -> None:
    """A writer refuses a journal whose newest segment is damaged, and changes nothing."""

    async def story() -> None:
        store = MemoryStore()
        first = await opened(store)
        await first.close()
        data = bytearray(store.peek(segment_key(1)) or b"")
        data[-60] ^= 1
        store.replace(segment_key(1), bytes(data))
        before = store.names("")
        with pytest.raises(Corrupt):
            await opened(store)
        assert store.names("") == before

    play(story())


def test_a_false_session_number_is_noticed() -> None:
    """A tail that names a session segment which is none does not make its writer somebody else."""

    async def story() -> None:
        forgery = Forgery()
        forgery.open()
        forgery.open()
        forgery.add(frames("db", b"x"), session=0)
        with pytest.raises(Corrupt, match="does not open session 2"):
            await opened(forgery.store)

    play(story())


def test_void_segments_at_the_end_are_stepped_over() -> None:
    """The fence goes behind what a fenced writer left, and continues the last valid segment."""

    async def story() -> None:
        forgery = Forgery()
        forgery.open()
        stale = forgery.end
        forgery.open()
        forgery.void(stale, frames("db", b"v", position="9"))
        writer = await opened(forgery.store, instance="a")
        assert (writer.epoch, writer.durable_seq, writer.marks) == (3, 3, {})
        await writer.close()
        report = await verify(forgery.store, offload=inline)
        assert (report.ok, report.void, report.sessions) == (True, [2], 3)

    play(story())


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"{", "cannot be read"), (b"\xff", "cannot be read"), (b'{"format":2,"id":"x","created":1}', r"format 2.*knows 1")],
)
def test_an_unreadable_identity_is_refused(data: bytes, reason: str) -> None:
    """A damaged ``archive.json``, or one of an unknown format, is never replaced."""

    async def story() -> None:
        store = MemoryStore()
        store.create(IDENTITY, data)
        with pytest.raises(Corrupt, match=reason):
            await opened(store)
        assert store.peek(IDENTITY) == data

    play(story())


def test_identity_is_created_once() -> None:
    """Whoever loses the race for ``archive.json`` takes the winner's."""

    async def story() -> None:
        store = MemoryStore()
        ids = await asyncio.gather(*(create_identity(store, VirtualClock(n)) for n in range(5)))
        assert len({identity.id for identity in ids}) == 1

    play(story())


def test_cancelling_the_wait_leaves_nothing() -> None:
    """A standby that is told to stop has written nothing."""

    async def story() -> None:
        store = MemoryStore()
        await opened(store)
        before = store.names("")
        standby = asyncio.create_task(opened(store, instance="b"))
        await asyncio.sleep(5)
        standby.cancel()
        with suppress(asyncio.CancelledError, ArchiverError):
            await standby
        assert store.names("") == before

    play(story())
