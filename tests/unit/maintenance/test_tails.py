"""What stands behind the newest checkpoint, by a number of requests that does not grow with the archive."""

from __future__ import annotations

from archiver.clock import SystemClock
from archiver.journal.entry import Kind
from archiver.journal.keys import checkpoint_key, checkpoint_prefix
from archiver.journal.reader import Reader
from archiver.maintenance.tails import Tail, tail_behind
from tests.simulation.loop import inline, play
from tests.unit.journal.counting_store import CountingStore
from tests.unit.journal.forge import Forgery, frames


def archive(segments: int) -> Forgery:
    """A checkpoint in entry 3, and ``segments`` of two changes behind it."""
    forgery = Forgery()
    forgery.store = CountingStore(forgery.store)
    forgery.open()
    forgery.add(frames("db", b"before"))
    forgery.add(frames("db", b"{}", kind=Kind.CHECKPOINT))
    for number in range(segments):
        forgery.add(frames("db", b"x", b"y", changed=100 + number))
    return forgery


async def look(forgery: Forgery) -> Tail | None:
    return await tail_behind(Reader(forgery.store, offload=inline), SystemClock(), "db")


def test_what_stands_behind_the_baseline() -> None:
    """All of it while nothing was folded: segments, entries and bytes, and the newest change of the source."""

    async def story() -> None:
        forgery = archive(20)
        tail = await look(forgery)
        assert tail is not None
        assert (tail.folded_entry, tail.folded_time, tail.changed) == (0, 0, 119)
        assert (tail.size.segments, tail.size.entries) == (20, 40)
        sizes = [len(forgery.store.peek(key) or b"") for key in forgery.store.names("journal/", "", None)[3:]]
        assert abs(tail.size.stored_bytes - sum(sizes)) < 0.05 * sum(sizes)
        assert tail.seconds > 0

    play(story())


def test_what_stands_behind_a_folded_checkpoint() -> None:
    """Names that are no checkpoints of this journal count for nothing; at its end nothing is behind one."""

    async def story() -> None:
        forgery = archive(20)
        end = await Reader(forgery.store, offload=inline).tail()
        assert end is not None
        for key in (checkpoint_key("db", 1 << 40), f"{checkpoint_prefix('db')}0stranger", checkpoint_key("db", 33)):
            forgery.store.create(key, b"{}")
        tail = await look(forgery)
        assert tail is not None
        assert (tail.folded_entry, tail.size.segments, tail.size.entries) == (33, 5, 10)
        assert 0 < tail.folded_time < end.time
        forgery.store.create(checkpoint_key("db", 43), b"{}")
        tail = await look(forgery)
        assert tail is not None
        assert (tail.folded_entry, tail.folded_time, tail.size.segments, tail.size.entries) == (43, end.time, 0, 0)

    play(story())


def test_a_source_without_a_checkpoint_has_no_tail() -> None:
    """Nor has an archive without a journal."""

    async def story() -> None:
        forgery = Forgery()
        assert await look(forgery) is None
        forgery.open()
        forgery.add(frames("db", b"x"))
        assert await look(forgery) is None

    play(story())


def test_a_long_archive_costs_no_more() -> None:
    """Some dozen requests for thousands of segments."""

    async def story() -> None:
        forgery = archive(3000)
        forgery.store.create(checkpoint_key("db", 3333), b"{}")
        assert await look(forgery) is not None
        assert isinstance(forgery.store, CountingStore)
        assert forgery.store.calls.total() < 110

    play(story())


def test_a_cluster_has_one_tail() -> None:
    """Of all its streams: from the oldest list of those that are heard, or from the folded checkpoint behind it."""

    async def story() -> None:
        forgery = Forgery()
        forgery.open()
        hour = 3_600_000_000
        for number, stream in enumerate(("kube/g/ended", "kube/g/a", "kube/g/b", "other/g/a"), 1):
            forgery.add(frames(stream, b"{}", kind=Kind.CHECKPOINT, observed=(1 if number == 1 else 3) * hour))
        forgery.add(frames("kube/g/a", b"x", kind=Kind.K8S_EVENT, observed=3 * hour + 5))
        reader = Reader(forgery.store, offload=inline)
        tail = await tail_behind(reader, SystemClock(), "kube")
        assert tail is not None
        assert (tail.size.entries, tail.size.segments, tail.changed) == (3, 3, 3 * hour + 5)
        forgery.store.create(checkpoint_key("kube", 5), b"{}")
        tail = await tail_behind(reader, SystemClock(), "kube")
        assert tail is not None
        assert (tail.folded_entry, tail.size.entries, tail.size.segments) == (5, 1, 1)

    play(story())
