"""One seeded history: servers, processes that capture them into one archive, faults, crashes, pauses; then a last, quiet process.

Everything that happens is drawn from one seed and runs on virtual time, so that a seed is a history.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from contextlib import aclosing
from typing import Any, Protocol

from archiver.errors import Bug, Corrupt, Fenced, Invalid, Unavailable
from archiver.journal.entry import Kind, Run
from archiver.journal.reader import Reader
from archiver.journal.verifier import verify
from archiver.journal.writer import Writer, WriterLimits
from archiver.maintenance.packing import pack_segments
from archiver.store.memory import MemoryStore
from tests.simulation.judges import Content, body_of
from tests.simulation.loop import VirtualLoop, inline
from tests.simulation.network import Network, Outcome

START = 1_700_000_000_000_000
LIVENESS_SECONDS = 600.0


class Judgement(AssertionError):
    """A promise is broken."""


class Faults(Protocol):
    """Decides what becomes of each call."""

    def next(self, verb: str, call: int) -> Outcome: ...


class Calm:
    """Nothing goes wrong."""

    def next(self, verb: str, call: int) -> Outcome:
        return Outcome.OK


class Storm:
    """Faults at a rate drawn for the whole history, different by kind."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        rate = rng.choice([0.0, 0.01, 0.05, 0.2])
        crash = rng.choice([0.0, 0.002, 0.01, 0.03])
        self._kinds = [
            Outcome.BEFORE,
            Outcome.LOST,
            Outcome.LATE,
            Outcome.CRASH_BEFORE,
            Outcome.CRASH_AFTER,
            Outcome.CRASH_LATE,
            Outcome.OK,
        ]
        weights = [rate * rng.random() for _ in range(3)] + [crash * rng.random() for _ in range(3)]
        self._weights = [*weights, max(0.0, 1.0 - sum(weights))]

    def next(self, verb: str, call: int) -> Outcome:
        return self._rng.choices(self._kinds, self._weights)[0]


class Server:
    """A database as its replication slot shows it: sends again whatever it has not been told to forget."""

    def __init__(self, name: str, entries: int) -> None:
        self.name = name
        self.entries = entries
        self.confirmed = 0


class Process:
    """One life of an archiver: a writer, a capture of every server, and the handle through which it may die."""

    def __init__(self, world: World, name: str, instance: str) -> None:
        self.world = world
        self.name = name
        self.instance = instance
        self.alive = True
        self.calls = 0
        self.paused_until = 0.0
        self.skew = world.rng.choice([0, 0, 0, -3_600_000_000, 3_600_000_000]) if world.rng.random() < 0.3 else 0
        self.main: asyncio.Task[None] | None = None

    def kill(self) -> None:
        self.alive = False
        if self.main is not None:
            self.main.cancel()

    async def thaw(self) -> None:
        """A stopped process notices nothing until it runs again."""
        while (wait := self.paused_until - self.world.loop.time()) > 1e-6:
            await asyncio.sleep(wait)

    def now(self) -> int:
        return START + int(self.world.loop.time() * 1_000_000) + self.skew

    def monotonic(self) -> float:
        return self.world.loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.thaw()

    def random(self) -> float:
        return self.world.rng.random()

    def unique(self) -> str:
        return f"{self.world.rng.getrandbits(128):032x}"

    async def live(self, stop: asyncio.Event | None) -> None:
        """Capture until ``stop``, or (``None``) until every server is told; then close in order."""
        world = self.world
        writer = await world.writer.open(
            Network(self),
            self,
            instance=self.instance,
            version="simulation",
            sources=dict.fromkeys(world.servers, "postgres"),
            limits=world.limits,
            offload=inline,
        )
        world.trace(self.name, "open", writer.epoch)
        commit = asyncio.create_task(writer.run())
        captures = [asyncio.create_task(self._capture(server, writer)) for server in world.servers.values()]
        stopping = asyncio.create_task(stop.wait()) if stop else asyncio.ensure_future(asyncio.gather(*captures))
        try:
            await asyncio.wait([commit, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not commit.done():
                for capture in captures:
                    capture.cancel()
                await asyncio.gather(*captures, return_exceptions=True)
                await writer.close()
            await commit
            world.trace(self.name, "closed", writer.durable_seq)
        finally:
            tasks = [commit, stopping, *captures]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _capture(self, server: Server, writer: Writer) -> None:
        world, rng = self.world, self.world.rng
        mark = writer.marks.get(server.name)
        known = int(mark.position or 0) if mark else 0
        world.content.catch_up()
        stale = writer.epoch < max(world.content.epochs)  # fenced without knowing: its marks are old, and it can acknowledge nothing
        world.check(
            stale or known >= server.confirmed, f"{server.name} was told to forget up to {server.confirmed}; the journal knows {known}"
        )
        at = server.confirmed if rng.random() < 0.3 else known

        def confirm(position: str) -> None:
            if self.alive:
                world.confirm(server, int(position))

        confirm(str(known))
        writer.on_durable(server.name, confirm)
        while at < server.entries:
            numbers = range(at + 1, min(at + rng.randint(1, 8), server.entries) + 1)
            run = Run.of(
                server.name,
                Kind.PG_FRAMES,
                [body_of(server.name, n) for n in numbers],
                observed=self.now(),
                changed=self.now() - rng.randint(0, 999),
                position=str(numbers[-1]) if numbers[-1] > known else "",
            )
            first = await writer.append(run)
            at = numbers[-1]
            if rng.random() < 0.1 or at == server.entries:
                await writer.durable(first + run.count - 1)
                if self.alive:
                    world.found(first, server.name, body_of(server.name, numbers[0]))
            await self.sleep(rng.random() * world.pace)


class World:
    """A history from ``seed``. ``writer``: a class to try in place of ``Writer``. ``faults``: instead of those drawn from the seed.
    ``packers``: how many processes pack segments beside those that capture.
    """

    def __init__(
        self, seed: int, *, writer: type[Writer] = Writer, faults: Faults | None = None, lives: bool = True, packers: int = 0
    ) -> None:
        self.rng = rng = random.Random(seed)
        self.loop = VirtualLoop()
        self.truth = MemoryStore("simulation")
        self.content = Content(self.truth)
        self.writer = writer
        self.faults: Faults = faults or Storm(rng)
        self.lives = lives
        self.packers = packers
        self.packs = 0
        self.broken: list[str] = []
        self.pace = rng.choice([0.01, 0.1, 0.4])
        self._slowness = rng.choice([0.001, 0.02, 0.1])
        self._late = rng.choice([0.05, 1.0, 5.0])
        self.servers = {name: Server(name, rng.randint(10, 90)) for name in ("one", "two", "three")[: rng.randint(1, 3)]}
        segment = rng.choice([300, 1500, 6000])
        self.limits = WriterLimits(
            segment_bytes=segment,
            buffer_bytes=rng.choice([segment // 2, segment * 2, segment * 8]),
            puts_per_second=rng.choice([2.0, 20.0, 100.0]),
            put_burst=rng.choice([1, 5]),
            heartbeat_seconds=rng.choice([0.5, 2.0]),
            stall_seconds=rng.choice([0.2, 1.0, 5.0]),
            takeover_after_seconds=rng.choice([0.5, 3.0]),
        )
        self._trace = hashlib.sha256()
        self.events = 0
        self.seen: Counter[str] = Counter()
        """How often things happened, by their name in the trace."""

    # What processes ask of the world

    def latency(self) -> float:
        return self.rng.random() * self._slowness * (20 if self.rng.random() < 0.02 else 1)

    def lateness(self) -> float:
        return self.rng.random() * self._late

    def trace(self, *event: object) -> None:
        self.events += 1
        self.seen.update(str(name) for name in event[1:2])
        self._trace.update(repr((round(self.loop.time(), 9), *event)).encode())

    @property
    def digest(self) -> str:
        """Stands for everything that happened."""
        return self._trace.hexdigest()

    def check(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.broken.append(otherwise)

    def confirm(self, server: Server, position: int) -> None:
        """A process acknowledges: the server forgets. Everything up to here must be in the journal at this moment."""
        self.content.catch_up()
        self.trace("confirm", server.name, position)
        self.check(
            self.content.last.get(server.name, 0) >= position,
            f"{server.name} was told {position}, the journal has {self.content.last.get(server.name, 0)}",
        )
        server.confirmed = max(server.confirmed, position)

    def found(self, seq: int, source: str, body: bytes) -> None:
        """A process was told that entry ``seq`` is durable."""
        self.content.catch_up()
        self.check(self.content.bodies.get(seq) == (source, body), f"entry {seq} was said to be durable and is not in the journal")

    # The history

    def run(self) -> None:
        """Play it to the end and judge. ``Judgement`` when a promise is broken."""
        try:
            self.loop.run_until_complete(self._history())
        finally:
            self.loop.close()
        self.broken += self.content.faults
        if self.broken:
            raise Judgement(self.broken[0])

    async def _history(self) -> None:
        if self.lives:
            seconds = 0.3 + self.rng.random() * 8 * (self.pace + self._slowness) / 0.1
            await self._lives(min(seconds, 30.0))
        self.faults = Calm() if self.lives else self.faults
        async with asyncio.timeout(LIVENESS_SECONDS):
            while not await self._process("last", "last", None):
                await asyncio.sleep(0.1)
            if self.packers:
                await self._packed(Process(self, "last packer", ""))
        await self._judge()

    async def _lives(self, seconds: float) -> None:
        rng = self.rng
        instances = rng.choice([["a"], ["a", "a"], ["a", "b"], ["a", "b", "a"]])
        operators = [asyncio.create_task(self._operate(f"{n}", instance)) for n, instance in enumerate(instances)]
        operators += [asyncio.create_task(self._pack(f"packer {n}")) for n in range(self.packers)]
        await asyncio.sleep(seconds)
        for operator in operators:
            operator.cancel()
        for result in await asyncio.gather(*operators, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result

    async def _operate(self, name: str, instance: str) -> None:
        """Start a process again and again; stop it in order, kill it or freeze it at some time."""
        rng, life = self.rng, 0
        await asyncio.sleep(rng.random())
        while True:
            life += 1
            stop = asyncio.Event()
            process = Process(self, f"{name}.{life}", instance)
            fate = rng.choice(["stop", "kill", "freeze", "none", "none"])
            after = rng.random() * 3
            timer = self.loop.call_later(after, self._befall, process, fate, stop)
            try:
                await self._process(process, instance, stop)
            finally:
                timer.cancel()
                process.kill()
            await asyncio.sleep(rng.random())

    async def _pack(self, name: str) -> None:
        """Pack again and again, in processes that die wherever they are."""
        life = 0
        while True:
            life += 1
            process = Process(self, f"{name}.{life}", "")
            process.main = asyncio.create_task(self._packed(process))
            timer = self.loop.call_later(self.rng.random() * 3, process.kill)
            try:
                await asyncio.wait([process.main])
            finally:
                timer.cancel()
                process.kill()
                await asyncio.gather(process.main, return_exceptions=True)
            if not process.main.cancelled() and (error := process.main.exception()) is not None:
                raise Judgement(f"{process.name} ended with {type(error).__name__}: {error}") from error
            await asyncio.sleep(self.rng.random())

    async def _packed(self, process: Process) -> None:
        """One round."""
        reader = Reader(Network(process), packs=False, offload=inline)
        try:
            async with aclosing(pack_segments(reader, process, span=8, behind=6)) as steps:
                async for step in steps:
                    self.trace(process.name, "packed", step.first, step.last, step.segments)
                    self.packs += step.segments > 0
        except (Unavailable, Invalid) as error:
            self.trace(process.name, type(error).__name__)

    def _befall(self, process: Process, fate: str, stop: asyncio.Event) -> None:
        self.trace(process.name, fate)
        if fate == "stop":
            stop.set()
        elif fate == "kill":
            process.kill()
        elif fate == "freeze":
            process.paused_until = self.loop.time() + self.rng.random() * 8

    async def _process(self, process: Process | str, instance: str, stop: asyncio.Event | None) -> bool:
        """One life to its end; whether it ended in order."""
        life = process if isinstance(process, Process) else Process(self, process, instance)
        life.main = asyncio.create_task(life.live(stop))
        self.loop.kill = life.kill
        try:
            await asyncio.wait([life.main])
            if life.main.cancelled():
                return False
            error = life.main.exception()
        finally:
            life.kill()
            await asyncio.gather(life.main, return_exceptions=True)
        if error is None:
            return True
        self.trace(life.name, type(error).__name__)
        if isinstance(error, (Fenced, Unavailable)):
            return False
        if isinstance(error, (Corrupt, Bug)):
            raise Judgement(f"{life.name} ended with {type(error).__name__}: {error}") from error
        raise error

    # The judges

    async def _judge(self) -> None:
        self.content.catch_up()
        for server in self.servers.values():
            self.check(
                self.content.last.get(server.name) == server.entries,
                f"{server.name} sent {server.entries}, the journal has {self.content.last.get(server.name)}",
            )
            self.check(server.confirmed == server.entries, f"{server.name} was never told about {server.entries}, only {server.confirmed}")
        report = await verify(self.truth, offload=inline)
        self.check(not report.bad_packs, f"verify: {report.verdict}")
        self.check(report.ok, f"verify: segment {report.bad_segment}: {report.reason}")
        self.check(report.entries == len(self.content.bodies), f"verify counted {report.entries} entries of {len(self.content.bodies)}")
        self.check(report.sessions == len(self.content.epochs), f"verify counted {report.sessions} sessions of {len(self.content.epochs)}")
        reader = Reader(self.truth, ahead=self.rng.randint(0, 3), offload=inline)
        read: dict[int, tuple[str, bytes]] = {}
        async with aclosing(reader.read()) as runs:
            async for placed in runs:
                read |= {placed.first + n: (placed.run.source, body) for n, body in enumerate(placed.run.bodies())}
        self.check(read == self.content.bodies, "the reader returns something else than what is stored")
        for seq in {1, len(read), self.rng.randint(1, len(read))}:
            number = await reader.find_seq(seq)
            self.check(number == self.content.segments[seq], f"entry {seq} is in segment {self.content.segments[seq]}, found in {number}")
            async with aclosing(reader.read(number, last=number)) as runs:
                numbers = [(placed.first, placed.run.count) async for placed in runs]
            self.check(any(first <= seq < first + count for first, count in numbers), f"reading segment {number} alone misses entry {seq}")
        self.check(await reader.find_seq(len(read) + 1) == await reader.last() + 1, "an entry behind the end was found")


def simulate(seed: int, **options: Any) -> World:
    """Play ``seed``. A broken promise raises ``Judgement`` that says how to play it again."""
    world = World(seed, **options)
    try:
        world.run()
    except Exception as error:
        raise Judgement(f"seed {seed}: {error}\nplay it again: SIMULATION_SEED={seed} pytest tests/simulation/test_seeds.py") from error
    return world
