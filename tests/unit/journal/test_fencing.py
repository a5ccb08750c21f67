"""Whose the next number is: fences, strangers, stalls."""

from __future__ import annotations

import asyncio

import pytest

from archiver.errors import Corrupt, Fenced
from archiver.journal.keys import IDENTITY, part_key, segment_key
from archiver.journal.reader import Reader
from archiver.journal.writer import Writer
from tests.simulation.loop import inline, play
from tests.unit.journal.forge import fence, forge, frames
from tests.unit.journal.living import opened, run_of, running
from tests.unit.journal.scripted import ScriptedStore


def test_a_fenced_writer_stops_within_one_put() -> None:
    """The next PUT of a writer that was taken over meets the fence: everybody who waits gets the same ``Fenced``, nothing is acknowledged."""

    async def story() -> None:
        store = ScriptedStore()
        old = await opened(store)
        told: list[str] = []
        old.on_durable("db", told.append)
        async with running(old) as commit:
            new = await opened(store)
            assert new.epoch == 2
            seq = await old.append(run_of(position="1"))
            with pytest.raises(Fenced, match="instance 'a' took the archive over with epoch 2") as caught:
                await old.durable(seq)
            with pytest.raises(Fenced) as again:
                await old.append(run_of())
            with pytest.raises(Fenced):
                await old.durable(seq)
            with pytest.raises(Fenced):
                await old.put_part(part_key("db", "x", 0), b"")
            with pytest.raises(Fenced):
                await old.close()
            with pytest.raises(Fenced):
                await commit
            assert caught.value is again.value
            assert caught.value.hint
            assert told == []
            assert old.durable_seq == 1

    play(story())


@pytest.mark.parametrize("epoch", [1, 0])
def test_a_stranger_under_the_next_number_is_corrupt(epoch: int) -> None:
    """Another segment of this or a lower epoch where the writer writes means that somebody does not keep the rules."""

    async def story() -> None:
        store = ScriptedStore()
        writer = await opened(store)
        async with running(writer) as commit:
            end = await Reader(store, offload=inline).end()
            store.create(segment_key(1), forge(end, [frames("db", b"x")], epoch=epoch)[0])
            await writer.append(run_of())
            with pytest.raises(Corrupt, match=f"epoch {epoch} stands where this writer"):
                await commit

    play(story())


@pytest.mark.parametrize("other", [b"", b"noise", "alien"])
def test_noise_under_the_next_number_is_corrupt(other: bytes | str) -> None:
    """What is no segment, or of another archive, ends the writer with the reason."""

    async def story() -> None:
        store = ScriptedStore()
        writer = await opened(store)
        async with running(writer) as commit:
            end = await Reader(store, offload=inline).end()
            alien = forge(end, [fence(9)], epoch=9, archive="f" * 32)[0]
            store.create(segment_key(1), other if isinstance(other, bytes) else alien)
            await writer.append(run_of())
            with pytest.raises(Corrupt):
                await commit

    play(story())


async def _stalled(store: ScriptedStore) -> tuple[Writer, asyncio.Task[None], asyncio.Task[None], list[str]]:
    """A writer whose PUT has hung for 100 s, the task that waits for it, and what was told."""
    writer = await opened(store, stall_seconds=60.0)
    told: list[str] = []
    writer.on_durable("db", told.append)
    commit = asyncio.create_task(writer.run())
    store.gate.clear()
    waiting = asyncio.create_task(writer.durable(await writer.append(run_of(position="1"))))
    await asyncio.sleep(100)
    return writer, commit, waiting, told


def test_a_stalled_writer_looks_before_it_acknowledges() -> None:
    """After a stall the writer looks for a newer owner: segments may have been made and removed meanwhile."""

    async def story() -> None:
        store = ScriptedStore()
        _, commit, waiting, told = await _stalled(store)
        end = await Reader(store, offload=inline).end()
        store.create(segment_key(2), forge(end, [fence(2, "b")], epoch=2, number=2)[0])  # segment 1 was made, then removed
        store.gate.set()
        with pytest.raises(Fenced, match="instance 'b'"):
            await commit
        with pytest.raises(Fenced):
            await waiting
        assert told == []

    play(story())


def test_a_stalled_writer_that_still_owns_the_archive_goes_on() -> None:
    """When nobody came meanwhile, what was sent is acknowledged after all."""

    async def story() -> None:
        store = ScriptedStore()
        writer, commit, waiting, told = await _stalled(store)
        store.gate.set()
        await waiting
        assert told == ["1"]
        await writer.close()
        await commit

    play(story())


@pytest.mark.parametrize("lost", [IDENTITY, segment_key(0)])
def test_a_stalled_writer_notices_a_removed_archive(lost: str) -> None:
    """When the archive was emptied meanwhile, nothing is acknowledged into the ruins."""

    async def story() -> None:
        store = ScriptedStore()
        _, commit, waiting, told = await _stalled(store)
        store.replace(lost, None)
        store.gate.set()
        with pytest.raises(Corrupt):
            await commit
        with pytest.raises(Corrupt):
            await waiting
        assert told == []

    play(story())
