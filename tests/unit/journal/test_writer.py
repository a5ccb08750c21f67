"""The writer: group commit, acknowledgement, back-pressure, retries, and being fenced."""

from __future__ import annotations

import asyncio

import pytest

from archiver.errors import Bug, Unavailable
from archiver.journal.entry import Kind, Run
from archiver.journal.keys import part_key, segment_key
from archiver.journal.reader import Reader
from archiver.journal.verifier import verify
from archiver.journal.writer import Writer, WriterLimits
from archiver.store.memory import MemoryStore
from tests.simulation.loop import VirtualClock, inline, play
from tests.unit.journal.forge import frames
from tests.unit.journal.living import opened, run_of, running, segment
from tests.unit.journal.scripted import ScriptedStore


def test_what_is_appended_becomes_durable() -> None:
    """Entries get consecutive numbers, are durable after ``durable``, and come back in order with the session around them."""

    async def story() -> None:
        store = ScriptedStore()
        writer = await opened(store)
        async with running(writer) as commit:
            assert (writer.epoch, writer.durable_seq, writer.marks) == (1, 1, {})
            assert await writer.append(frames("db", b"a", b"b", position="1")) == 2
            assert await writer.append(frames("k8s", b"c", kind=Kind.K8S_EVENT)) == 4
            await writer.durable(4)
            assert writer.durable_seq == 4
            assert writer.marks["db"].position == "1"
            assert writer.buffered_bytes == 0
            await writer.close()
            await commit
        async for placed in Reader(store, offload=inline).read():
            last = placed
        assert last.run.kind is Kind.CLOSE
        assert last.first == 5
        report = await verify(store, offload=inline)
        assert (report.ok, report.entries, report.sessions) == (True, 5, 1)

    play(story())


def test_what_gathers_during_a_put_goes_together() -> None:
    """With nothing in flight a run is sent at once; what comes during a PUT shares the next segment; never two PUTs at a time."""

    async def story() -> None:
        store = ScriptedStore()
        writer = await opened(store)
        async with running(writer):
            await writer.append(run_of())
            await asyncio.sleep(0.005)
            for _ in range(10):
                last = await writer.append(run_of())
            await writer.durable(last)
            assert [segment(store, number).header.count for number in (0, 1, 2)] == [1, 1, 10]

    play(story())


def test_what_is_patient_shares_a_segment() -> None:
    """Ten positions of idle streams go with the next heartbeat, all in one segment; with what is urgent; or when somebody waits."""

    async def story() -> None:
        store = ScriptedStore()
        writer = await opened(store)
        async with running(writer):
            for number in range(10):
                last = await writer.append(run_of(position=str(number), source=f"s{number}"), patient=True)
                await asyncio.sleep(0.8)
            assert writer.durable_seq == 1
            await asyncio.sleep(3)
            assert (writer.durable_seq, segment(store, 1).header.count) == (last, 10)
            await writer.append(run_of(), patient=True)
            last = await writer.append(run_of())
            await asyncio.sleep(0.1)
            assert (writer.durable_seq, segment(store, 2).header.count) == (last, 2)
            await writer.durable(await writer.append(run_of(), patient=True))
            assert segment(store, 3).header.count == 1

    play(story())


def test_a_full_segment_is_sent_alone() -> None:
    """No segment is larger than its limit, unless one run alone is."""

    async def story() -> None:
        store = ScriptedStore()
        writer = await opened(store, buffer_bytes=200_000)
        async with running(writer):
            store.gate.clear()
            for size in (1000, 1000, 1000, 1000, 50_000, 10):
                last = await writer.append(run_of(size))
            store.gate.set()
            await writer.durable(last)
            raw = [segment(store, number).footer.raw for number in range(1, await Reader(store, offload=inline).last() + 1)]
            assert all(size <= 4096 for size in raw if size < 50_000)
            assert sum(size >= 50_000 for size in raw) == 1

    play(story())


def test_a_full_buffer_holds_callers_up_in_order() -> None:
    """``append`` waits while the buffer is full; who came first is served first; the bound holds throughout."""

    async def story() -> None:
        store = ScriptedStore()
        writer = await opened(store, buffer_bytes=4096)
        order: list[int] = []

        async def feed(number: int) -> None:
            seq = await writer.append(run_of(1000, source=f"s{number}"))
            order.append(number)
            assert writer.buffered_bytes <= 4096
            assert seq == number + 2

        async with running(writer):
            store.gate.clear()
            tasks = [asyncio.create_task(feed(number)) for number in range(20)]
            await asyncio.sleep(1)
            assert len(order) < 5
            store.gate.set()
            await asyncio.gather(*tasks)
            await writer.durable(21)
            assert order == list(range(20))

    play(story())


def test_a_run_larger_than_the_buffer_passes() -> None:
    """It waits until nothing else is held, and passes alone; what came after it stays behind it."""

    async def story() -> None:
        store = ScriptedStore()
        writer = await opened(store)
        async with running(writer):
            store.gate.clear()
            await writer.append(run_of(10))
            big = asyncio.create_task(writer.append(run_of(100_000)))
            small = asyncio.create_task(writer.append(run_of(10)))
            await asyncio.sleep(1)
            assert not big.done()
            assert not small.done()
            store.gate.set()
            assert (await big, await small) == (3, 4)
            await writer.durable(4)

    play(story())


def test_a_caller_that_gives_up_does_not_block_others() -> None:
    """A cancelled ``append`` leaves the queue; its run is not written and takes no number."""

    async def story() -> None:
        store = ScriptedStore()
        writer = await opened(store, buffer_bytes=4096)
        async with running(writer):
            store.gate.clear()
            await writer.append(run_of(4000))
            given_up = asyncio.create_task(writer.append(run_of(4000)))
            patient = asyncio.create_task(writer.append(run_of(4000)))
            await asyncio.sleep(1)
            given_up.cancel()
            store.gate.set()
            assert await patient == 3

    play(story())


def test_the_budget_delays_and_gathers() -> None:
    """Small segments are at most burst + rate a second; nothing is lost by it; a full segment does not wait."""

    async def story() -> None:
        store = ScriptedStore()
        writer = await opened(store, puts_per_second=2.0, put_burst=3, buffer_bytes=1 << 20)
        async with running(writer):
            for _ in range(100):
                last = await writer.append(run_of(10))
                await asyncio.sleep(0.1)
            assert 20 <= len(store.puts) <= 26
            await writer.durable(last)
            before = len(store.puts)
            began = asyncio.get_running_loop().time()
            for _ in range(40):
                last = await writer.append(run_of(4000))
            await writer.durable(last)
            assert len(store.puts) - before >= 38
            assert asyncio.get_running_loop().time() - began < 1.5

    play(story())


def test_an_idle_journal_beats() -> None:
    """Without entries there is a segment every ``heartbeat_seconds``: it carries time and marks and no entries."""

    async def story() -> None:
        store = ScriptedStore()
        clock = VirtualClock()
        writer = await opened(store, clock=clock)
        async with running(writer):
            await writer.durable(await writer.append(run_of(position="7")))
            await asyncio.sleep(35)
            assert [segment(store, number).header.count for number in range(2, 5)] == [0, 0, 0]
            assert segment(store, 4).header.sources["db"].position == "7"
            assert clock.now() - writer.last_commit < 11_000_000
            assert await Reader(store, offload=inline).last() == 4

    play(story())


def test_positions_are_told_when_durable() -> None:
    """Callbacks get each source's position after the segment that holds it, in order; a failing one stops nobody; unsubscribing works."""

    async def story() -> None:
        store = ScriptedStore()
        writer = await opened(store)
        told: list[str] = []

        def fail(position: str) -> None:
            raise ValueError(position)

        writer.on_durable("db", fail)
        forget = writer.on_durable("db", told.append)
        writer.on_durable("other", told.append)
        async with running(writer):
            await writer.append(run_of(position="1"))
            await writer.append(run_of())
            store.gate.clear()
            await asyncio.sleep(1)
            assert told == []
            store.gate.set()
            await writer.durable(await writer.append(run_of(position="2")))
            await writer.durable(await writer.append(run_of()))
            assert told == ["1", "2"]
            forget()
            forget()
            await writer.durable(await writer.append(run_of(position="3")))
            assert told == ["1", "2"]

    play(story())


@pytest.mark.parametrize(
    "script", [["fail"], ["lose"], ["late"], ["fail", "late", "fail", "lose", "fail"], ["late", "late"], ["fail"] * 30]
)
def test_the_same_bytes_are_tried_until_the_answer_is_known(script: list[str]) -> None:
    """Whatever becomes of a PUT, the same bytes go under the same number again, and the entries are durable once, when it is known."""

    async def story() -> None:
        store = ScriptedStore()
        writer = await opened(store)
        async with running(writer) as commit:
            store.script.extend(script)
            await writer.durable(await writer.append(run_of(position="1")))
            tries = [data for key, data in store.puts if key == segment_key(1)]
            assert len(tries) >= 2
            assert set(tries) == {store.peek(segment_key(1))}
            await asyncio.sleep(6)
            await writer.close()
            await commit
        report = await verify(store, offload=inline)
        assert (report.ok, report.entries) == (True, 3)

    play(story())


def test_trouble_shows_in_the_age_of_the_last_commit() -> None:
    """While the store does not answer, ``last_commit`` stands still and nothing is acknowledged; callers wait."""

    async def story() -> None:
        store = ScriptedStore()
        clock = VirtualClock()
        writer = await opened(store, clock=clock)
        async with running(writer) as commit:
            store.script.extend(["fail"] * 100)
            seq = await writer.append(run_of())
            waiting = asyncio.create_task(writer.durable(seq))
            await asyncio.sleep(100)
            assert not waiting.done()
            assert not commit.done()
            assert clock.now() - writer.last_commit > 99_000_000
            store.script.clear()
            await waiting

    play(story())


def test_closing_makes_everything_durable() -> None:
    """``close`` flushes what was appended, those held up by a full buffer included, then ends the session; later calls are refused."""

    async def story() -> None:
        store = ScriptedStore()
        writer = await opened(store, buffer_bytes=4096, puts_per_second=0.01, put_burst=1)
        async with running(writer) as commit:
            store.gate.clear()
            appends = [asyncio.create_task(writer.append(run_of(3000))) for _ in range(5)]
            await asyncio.sleep(1)
            closing = asyncio.create_task(writer.close())
            await asyncio.sleep(1)
            with pytest.raises(Unavailable, match="closing"):
                await writer.append(run_of())
            store.gate.set()
            assert await asyncio.gather(*appends) == [2, 3, 4, 5, 6]
            await closing
            await commit
            await writer.close()
        assert writer.durable_seq == 7
        with pytest.raises(Unavailable, match="closed"):
            await writer.durable(8)
        await writer.durable(7)

    play(story())


def test_closing_without_running_works() -> None:
    """A writer whose loop was never started is closed all the same."""

    async def story() -> None:
        store = ScriptedStore()
        writer = await opened(store)
        await writer.append(run_of())
        await writer.close()
        assert writer.durable_seq == 3

    play(story())


def test_stopping_at_once_raises_in_all_who_wait() -> None:
    """Cancelling ``run`` ends every wait with ``Unavailable``; what was in flight is not acknowledged."""

    async def story() -> None:
        store = ScriptedStore()
        writer = await opened(store, buffer_bytes=4096)
        async with running(writer) as commit:
            store.gate.clear()
            seq = await writer.append(run_of(4000))
            held_up = asyncio.create_task(writer.append(run_of(4000)))
            waiting = asyncio.create_task(writer.durable(seq))
            part = asyncio.create_task(writer.put_part(part_key("db", "x", 0), b"part"))
            await asyncio.sleep(1)
            commit.cancel()
            for task in (held_up, waiting, part):
                with pytest.raises(Unavailable, match="stopped"):
                    await task

    play(story())


def test_the_loop_runs_once() -> None:
    """A second ``run`` is a mistake of the program."""

    async def story() -> None:
        writer = await opened(ScriptedStore())
        async with running(writer):
            await asyncio.sleep(0)
            with pytest.raises(Bug):
                await writer.run()

    play(story())


def test_a_bad_run_harms_nobody() -> None:
    """A run that contradicts itself is refused to its caller; the journal goes on."""

    async def story() -> None:
        writer = await opened(ScriptedStore())
        async with running(writer):
            with pytest.raises(Bug):
                await writer.append(Run("db", Kind.PG_FRAMES, 1, b"\5\0\0\0", b"x"))
            await writer.durable(await writer.append(run_of()))

    play(story())


@pytest.mark.parametrize("script", [[], ["fail"], ["lose"], ["late"]])
def test_parts_are_durable_on_return(script: list[str]) -> None:
    """A part is there with its bytes whatever became of its PUTs; other bytes under its key are a mistake of the program."""

    async def story() -> None:
        store = ScriptedStore()
        writer = await opened(store)
        key = part_key("cluster/core@ns", "id", 3)
        assert key == "parts/cluster=2Fcore=40ns/id/000003.zst"
        async with running(writer):
            store.script.extend(script)
            await writer.put_part(key, b"rows")
            assert store.peek(key) == b"rows"
            await writer.put_part(key, b"rows")
            with pytest.raises(Bug, match="other content"):
                await writer.put_part(key, b"else")
            with pytest.raises(Bug, match="not the key"):
                await writer.put_part(segment_key(5), b"rows")

    play(story())


def test_threads_encode_large_segments() -> None:
    """With real threads and the real loop, megabytes go through and come back."""

    async def story() -> None:
        from archiver.clock import SystemClock

        store = MemoryStore()
        limits = WriterLimits(segment_bytes=1 << 20, buffer_bytes=4 << 20)
        writer = await Writer.open(store, SystemClock(), instance="a", version="1", sources={}, limits=limits)
        commit = asyncio.create_task(writer.run())
        held = frames("db", *[b"%09d" % n * 20 for n in range(1000)], position="1")
        for _ in range(100):
            await writer.append(held)
        await writer.close()
        await commit
        count = 0
        async for placed in Reader(store).read():
            if placed.run.source:
                assert placed.run == held
                count += 1
        assert count == 100

    asyncio.run(story())
