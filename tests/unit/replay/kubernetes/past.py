"""Random histories of Kubernetes streams as capture journals them, with what is true at every entry noted by whoever makes them up."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

import msgspec

from archiver.journal.entry import Kind, Run
from archiver.journal.records import Gap
from archiver.kubernetes.records import Absent, Listing, Resource, Verified, Watch
from archiver.kubernetes.state_digest import state_digest
from tests.unit.journal.forge import Forgery

Objects = dict[str, tuple[str, str]]
"""Name -> uid and resourceVersion."""


@dataclass
class Truth:
    """What is so after an entry, until the next one of the stream."""

    entry: int
    observed: int
    objects: Objects | None
    """``None``: no complete list yet."""
    relisting: bool = False
    """A list is under way that is not a verifying one, so that ``objects`` are of before it."""
    listing: bool = False
    """A list of any kind is under way."""
    verifying: bool = False
    """Of a verifying list."""


@dataclass
class Stream:
    """One stream and the API server behind it."""

    name: str
    resource: Resource
    random: random.Random
    versions: list[tuple[str, str, str, str]] = field(default_factory=list)
    """(type, name, uid, resourceVersion) of everything that happened at the server."""
    sent: int = 0
    """How much of it has been received."""
    listed: int = 0
    truths: list[Truth] = field(default_factory=list)
    outages: list[tuple[int, int]] = field(default_factory=list)
    """Times between which nobody watched and which no watch made good: (last received, next received)."""
    pauses: list[tuple[int, int]] = field(default_factory=list)
    """The same where the watch went on from its position."""
    late: set[int] = field(default_factory=set)
    """Second times of pauses after which events came at once; those of this history do not say when they happened."""
    resumed: int = 0
    """When the watch went on, until something else than events follows."""
    alive: dict[str, str] = field(default_factory=dict)
    glimpses: list[tuple[int, str]] = field(default_factory=list)
    """Entry and name of every item of a list, complete or not."""
    brought: set[str] = field(default_factory=set)
    """resourceVersions that a watch brought."""

    def live(self) -> None:
        """One change at the server."""
        version = str(len(self.versions) + 9)
        if not self.alive or self.random.random() < 0.5:
            name = f"o{self.random.randrange(6)}"
            kind = "MODIFIED" if name in self.alive else "ADDED"
            self.alive.setdefault(name, f"u{version}")
        else:
            name = self.random.choice(sorted(self.alive))
            kind = self.random.choice(("MODIFIED", "DELETED"))
        self.versions.append((kind, name, self.alive[name], version))
        if kind == "DELETED":
            del self.alive[name]

    def state(self, count: int) -> Objects:
        """The server's objects after the first ``count`` changes."""
        found: Objects = {}
        for kind, name, uid, version in self.versions[:count]:
            if kind == "DELETED":
                found.pop(name, None)
            else:
                found[name] = (uid, version)
        return found

    def version(self, count: int) -> str:
        return str(count + 8)


def body(name: str, uid: str, version: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "n", "uid": uid, "resourceVersion": version}}


class Past:
    """A journal of several streams; ``make`` writes it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.proofs = random.Random(seed)
        """Of its own, so that histories that once found something stay what they are without them."""
        self.forgery = Forgery()
        self.forgery.open()
        self.now = 1000
        self.entry = 1
        self.times: list[int] = []
        """``times[n]``: when entry n + 1 was received."""
        self.batch: list[Run] = []
        resources = [Resource("g.io", "v1", f"things{n}", f"Thing{n}", True) for n in range(2)]
        self.streams = [Stream(f"kube/g.io/{each.plural}", each, self.random) for each in resources]

    def make(self, steps: int) -> Past:
        self.times = [5]
        for _ in range(steps):
            stream = self.random.choice(self.streams)
            for _ in range(self.random.randrange(4)):
                stream.live()
            if not stream.truths or (stream.truths[-1].objects is None and not self.random.randrange(2)):
                self.read(stream, "start")
            elif stream.truths[-1].objects is None or stream.truths[-1].relisting:
                self.read(stream, "expired", complete=self.random.random() < 0.3)
            else:
                self.random.choices((self.watch, self.progress, self.outage, self.resume, self.verify), (8, 2, 1, 1, 2))[0](stream)
            if stream.truths[-1].objects is not None and not stream.truths[-1].relisting and self.proofs.random() < 0.2:
                self.verified(stream)
            if self.random.random() < 0.3:
                self.flush()
        self.flush()
        return self

    def watch(self, stream: Stream) -> None:
        """Events arrive, all that there are or some."""
        count = self.random.randint(0, len(stream.versions) - stream.sent)
        events = stream.versions[stream.sent : stream.sent + count]
        if not events:
            return
        bodies = [json.dumps({"type": kind, "object": body(name, uid, version)}).encode() for kind, name, uid, version in events]
        observed = self.later()
        before = stream.sent
        self.add(stream, Kind.K8S_EVENT, bodies, observed=observed, position=events[-1][3], silent=True)
        for number in range(1, count + 1):
            known = max(stream.listed, before + number)
            stream.truths.append(Truth(self.entry - count + number, observed, stream.state(known)))
        stream.sent += count
        stream.brought |= {event[3] for event in events}

    def progress(self, stream: Stream) -> None:
        """A bookmark: everything was received."""
        if stream.sent == len(stream.versions):
            self.add(stream, Kind.PROGRESS, [b""], position=stream.version(stream.sent))

    def outage(self, stream: Stream) -> None:
        """Nobody watches, and the watch cannot go on from where it was."""
        for _ in range(self.random.randrange(5)):
            stream.live()
        self.read(stream, "expired", complete=self.random.random() < 0.7)

    def resume(self, stream: Stream) -> None:
        """Nobody watches for a while; then the watch goes on."""
        before = stream.truths[-1].observed
        self.add(stream, Kind.K8S_WATCH, [self.began(stream, "resume", stream.version(stream.sent))])
        stream.pauses.append((before, stream.truths[-1].observed))
        stream.resumed = stream.truths[-1].observed

    def verify(self, stream: Stream) -> None:
        """A list beside the watch."""
        before = len(stream.truths)
        self.read(stream, "verify")
        for truth in stream.truths[before:]:
            truth.verifying = True

    def verified(self, stream: Stream) -> None:
        """A list found what is known, and is not journaled itself."""
        objects = stream.truths[-1].objects
        assert objects is not None
        digest = state_digest((("n", name), version) for name, version in objects.items())
        verified = Verified(stream.version(max(stream.sent, stream.listed)), len(objects), digest, self.now)
        self.add(stream, Kind.PROGRESS, [msgspec.json.encode(verified)], observed=self.now + 1)

    def began(self, stream: Stream, cause: Any, version: str) -> bytes:
        return msgspec.json.encode(Watch("ca=x uid=y", "https://x", stream.resource, "", 0, version, cause))

    def read(self, stream: Stream, cause: str, *, complete: bool = True) -> None:
        count = len(stream.versions)
        objects = stream.state(count)
        known = stream.truths[-1].objects if stream.truths else None
        relisting = cause != "verify" and known is not None
        if relisting and not stream.truths[-1].relisting:
            stream.outages.append((stream.truths[-1].observed, self.now + 1))
        first = self.entry + 1
        self.add(stream, Kind.K8S_WATCH, [self.began(stream, cause, "")], relisting=relisting)
        items = [json.dumps(body(name, uid, version)).encode() for name, (uid, version) in sorted(objects.items())]
        while items:
            cut = self.random.randint(1, len(items))
            stream.glimpses += [(self.entry + n, json.loads(item)["metadata"]["name"]) for n, item in enumerate(items[:cut], 1)]
            self.add(stream, Kind.K8S_ITEM, items[:cut], relisting=relisting)
            items = items[cut:]
            if self.random.random() < 0.3:
                self.flush()
        if not complete:
            return
        if relisting:
            gone = [name for name in known or {} if name not in objects]
            for name in gone:
                uid, version = (known or {})[name]
                self.add(stream, Kind.K8S_ABSENT, [msgspec.json.encode(Absent("n", name, uid, version, 1, self.now))], relisting=True)
            self.add(stream, Kind.GAP, [msgspec.json.encode(Gap("x", "watch_expired"))], relisting=True)
        listing = Listing(stream.resource, "", 0, stream.version(count), len(objects), first, cause)
        if cause != "verify":
            stream.sent = count
        stream.listed = count
        position = "" if cause == "verify" else stream.version(count)
        self.add(stream, Kind.CHECKPOINT, [msgspec.json.encode(listing)], position=position, objects=objects)

    def later(self) -> int:
        self.now += self.random.randint(1, 50)
        return self.now

    def add(
        self,
        stream: Stream,
        kind: Kind,
        bodies: list[bytes],
        *,
        observed: int = 0,
        position: str = "",
        objects: Objects | None = None,
        relisting: bool = False,
        silent: bool = False,
    ) -> None:
        if kind is Kind.K8S_EVENT and stream.resumed:
            stream.late.add(stream.resumed)
        elif kind is not Kind.K8S_EVENT:
            stream.resumed = 0
        observed = observed or (self.now + 1 if kind is Kind.K8S_WATCH else self.later())
        self.now = observed
        self.batch.append(Run.of(stream.name, kind, bodies, observed=observed, position=position))
        self.entry += len(bodies)
        self.times += [observed] * len(bodies)
        if silent:
            return
        if objects is None and stream.truths:
            objects = stream.truths[-1].objects
        listing = kind in (Kind.K8S_ITEM, Kind.K8S_ABSENT, Kind.GAP) or (kind is Kind.K8S_WATCH and b'"resource_version":""' in bodies[0])
        stream.truths += [Truth(self.entry - len(bodies) + n, observed, objects, relisting, listing) for n in range(1, len(bodies) + 1)]

    def flush(self) -> None:
        if self.batch:
            self.forgery.add(*self.batch)
            self.batch = []
