"""Verifying lists of which nothing is journaled but that they agreed."""

from __future__ import annotations

import asyncio
import random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.capture.kubernetes.listwatch import ListWatch
from archiver.capture.kubernetes.stream_context import Interest
from archiver.capture.kubernetes.stream_journal import StreamJournal
from archiver.capture.kubernetes.stream_status import StreamFigures
from archiver.capture.kubernetes.watch_batch import WatchBatch
from archiver.journal.entry import Kind, Placed, Run
from archiver.kubernetes.records import Verified
from archiver.kubernetes.stream_state import Key, StreamState
from tests.unit.capture.kubernetes.handed_over import SCOPE, KeptRuns, entries
from tests.unit.capture.set_clock import SetClock

Objects = dict[Key, tuple[str, str]]


class Server:
    """An API server with one kind, in which every change has a version of its own; other kinds change in between."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.version = 10
        self.objects: Objects = {}
        self.lines: list[tuple[int, bytes]] = []
        """Everything that a watch tells, with its version."""

    def change(self) -> None:
        self.version += self.random.randint(1, 3)
        key = ("n", f"o{self.random.randrange(4)}")
        if key in self.objects and self.random.random() < 0.4:
            self.line("DELETED", key, self.objects.pop(key)[0])
        else:
            kind = "MODIFIED" if key in self.objects else "ADDED"
            uid = self.objects.get(key, (f"u{self.version}", ""))[0]
            self.objects[key] = (uid, str(self.version))
            self.line(kind, key, uid)

    def line(self, kind: str, key: Key, uid: str) -> None:
        self.lines.append((self.version, msgspec.json.encode({"type": kind, "object": thing(key, uid, self.version)})))

    def bookmark(self) -> None:
        self.version += self.random.randint(0, 2)
        self.lines.append((self.version, b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"%d"}}}' % self.version))


def thing(key: Key, uid: str, version: int) -> dict[str, object]:
    return {"metadata": {"namespace": key[0], "name": key[1], "uid": uid, "resourceVersion": str(version)}}


class Stream:
    """One stream that was listed once, and what it handed to the journal."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.outbox = KeptRuns()
        self.machine = ListWatch(position="", epoch=0, resumable=False)
        self.journal = StreamJournal(
            entries(self.outbox, SetClock()),
            StreamFigures(SCOPE.stream),
            self.machine,
            SetClock(),
            interest=Interest(),
            heartbeat=0,
            resumed=None,
        )
        self.heard = len(server.lines)

    async def baseline(self) -> None:
        version, listed = str(self.server.version), Objects()
        self.machine.list_began(version)
        first = await self.journal.list_began()
        items = [thing(key, uid, int(at)) for key, (uid, at) in self.server.objects.items()]
        self.journal.items([msgspec.Raw(msgspec.json.encode(item)) for item in items], listed)
        self.journal.complete(listed, version, first, 1)

    def hear(self, most: int = 1 << 30) -> bool:
        """The next lines of the watch arrive together."""
        lines = [line for _, line in self.server.lines[self.heard : self.heard + most]]
        self.heard += len(lines)
        return self.journal.events(WatchBatch.of(lines, since=self.machine.position))

    def glance(self) -> None:
        self.journal.glance(dict(self.server.objects), str(self.server.version))

    def folded(self) -> StreamState:
        """What the journal has, which no proof in it may contradict."""
        state, first = StreamState(), 1
        for run in self.outbox.runs:
            state.apply(Placed(first, 0, 1, 0, run))
            first += run.count
            assert not state.disproved
        return state

    @property
    def proofs(self) -> list[Verified]:
        return [msgspec.json.decode(body, type=Verified) for run in self.outbox.runs for body in proven(run)]


def proven(run: Run) -> list[bytes]:
    return [body for body in run.bodies() if body] if run.kind is Kind.PROGRESS else []


@given(st.integers(0, 2**32), st.integers(1, 60))
@settings(max_examples=200, deadline=None)
def test_what_agrees_is_proven_just_where_it_was_listed(seed: int, steps: int) -> None:
    """However far the watch was behind a list, and however its lines arrive: every list that it passed is proven in the journal, by what
    the fold has come to at that very entry; no object is journaled again.
    """

    async def story() -> None:
        server = Server(seed)
        for _ in range(3):
            server.change()
        stream = Stream(server)
        await stream.baseline()
        glances = 0
        for _ in range(steps):
            match server.random.choices(("change", "bookmark", "hear", "glance"), (4, 1, 3, 1))[0]:
                case "change":
                    server.change()
                case "bookmark":
                    server.bookmark()
                case "hear":
                    assert stream.hear(server.random.randint(1, 6))
                case _:
                    if not stream.journal.verifying:
                        stream.glance()
                        glances += 1
            stream.folded()
        server.bookmark()
        assert stream.hear()
        assert len(stream.proofs) == glances
        state = stream.folded()
        assert {key: (seen.uid, seen.resource_version) for key, seen in state.objects.items()} == server.objects
        assert stream.outbox.kinds.count(Kind.CHECKPOINT) == 1
        assert stream.machine.unbroken

    asyncio.run(story())


@given(st.integers(0, 2**32), st.booleans())
@settings(max_examples=60, deadline=None)
def test_what_the_watch_missed_is_never_proven(seed: int, later: bool) -> None:
    """An event that the watch does not bring, before the list: nothing is journaled of the list, and the next one will be."""

    async def story() -> None:
        server = Server(seed)
        for _ in range(3):
            server.change()
        stream = Stream(server)
        await stream.baseline()
        server.change()
        server.lines.pop()
        stream.glance()
        assert stream.journal.verifying
        if later:
            server.version += 1
            key = ("n", "another")
            server.objects[key] = ("u", str(server.version))
            server.line("ADDED", key, "u")
        server.bookmark()
        assert not stream.hear()
        assert (stream.proofs, stream.machine.unbroken, stream.journal.verifying) == ([], False, False)

    asyncio.run(story())


def test_a_list_that_the_watch_did_not_pass_counts_no_more_when_it_breaks() -> None:
    """What follows may be another past."""

    async def story() -> None:
        server = Server(3)
        server.change()
        stream = Stream(server)
        await stream.baseline()
        stream.glance()
        stream.journal.forget_glance()
        server.change()
        server.bookmark()
        assert stream.hear()
        assert (stream.proofs, stream.journal.verifying) == ([], False)

    asyncio.run(story())
