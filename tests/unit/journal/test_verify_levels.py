"""How much ``verify`` looks at, and that less is never said of damage."""

from __future__ import annotations

import pytest

from archiver.errors import Invalid
from archiver.journal.keys import SEGMENTS, segment_key
from archiver.journal.known_head import KnownHead
from archiver.journal.verifier import VerifyReport, verify
from archiver.journal.verify_levels import LEVELS, Level, verify_level
from archiver.store.memory import MemoryStore
from tests.simulation.loop import inline, play
from tests.unit.journal.forge import Forgery, frames
from tests.unit.journal.test_verifier import KEY, archive

LONG = 100


class CountingStore(MemoryStore):
    """Which segments were read whole, and how many objects were read at all."""

    def __init__(self) -> None:
        super().__init__()
        self.whole: set[int] = set()
        self.gets = 0

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        self.gets += 1
        found = await super().get(key, start, length)
        if found is not None and key.startswith(SEGMENTS) and (length or 0) > 8192:
            self.whole.add(int(key.removeprefix(SEGMENTS), 16))
        return found


def grown() -> Forgery:
    """``archive``, and as many segments again as ``LONG`` says; a takeover with a void one among them."""
    forgery = archive()
    store = CountingStore()
    for key in forgery.store.names(""):
        store.create(key, forgery.store.peek(key) or b"")
    forgery.store = store
    for number in range(LONG):
        if number == LONG // 2:
            stale = forgery.end
            forgery.open()
            forgery.void(stale, frames("db", b"v"))
        forgery.add(frames("db", b"x%d" % number))
    return forgery


def at_level(forgery: Forgery, level: Level, *, turn: int = 0, since: str = "") -> VerifyReport:
    noted = KnownHead.parse(since) if since else None
    return play(verify_level(forgery.store, level=level, turn=turn, since=noted, offload=inline))


def head(forgery: Forgery) -> str:
    return f"{forgery.end.chain.hex()}@{forgery.end.segment}"


def counting(forgery: Forgery) -> CountingStore:
    assert isinstance(forgery.store, CountingStore)
    forgery.store.whole, forgery.store.gets = set(), 0
    return forgery.store


@pytest.mark.parametrize("level", LEVELS)
def test_a_good_archive_is_good_at_every_level(level: Level) -> None:
    """Its segments are counted; a head is given only where hashes were looked at."""
    forgery = grown()
    report = at_level(forgery, level)
    assert (report.ok, report.level, report.segments) == (True, level, forgery.number)
    assert report.head == ("" if level == "names" else head(forgery))


def test_names_read_no_segment() -> None:
    """But the identity."""
    forgery = grown()
    store = counting(forgery)
    assert at_level(forgery, "names").ok
    assert (store.whole, store.gets) == (set(), 1)


def test_from_a_noted_head_only_what_is_behind_it_is_read() -> None:
    """Counts and points begin there; points that begin with an earlier checkpoint are among them, and its entry is read for that."""
    forgery = grown()
    noted = head(forgery)
    first = forgery.number
    for number in range(20):
        forgery.add(frames("db", b"y%d" % number))
    store = counting(forgery)
    report = at_level(forgery, "hashes", since=noted)
    assert (report.ok, report.since, report.segments, report.head) == (True, noted, 20, head(forgery))
    assert store.whole == {2, *range(first, first + 20)}
    whole = play(verify(forgery.store, offload=inline))
    assert report.restorable == whole.restorable
    nothing_new = at_level(forgery, "hashes", since=head(forgery))
    assert (nothing_new.ok, nothing_new.segments, nothing_new.head) == (True, 0, head(forgery))


def test_shares_come_round() -> None:
    """In thirty turns every earlier segment is read once, void ones too."""
    forgery = grown()
    noted = head(forgery)
    seen: list[int] = []
    for turn in range(7, 37):
        store = counting(forgery)
        assert at_level(forgery, "share", turn=turn, since=noted).ok
        assert len(store.whole - {2}) <= 1 + forgery.number // 30
        seen += store.whole - ({2} if turn % 30 != 2 else set())
    assert sorted(seen) == list(range(forgery.number))


def test_damage_is_told_whole_whatever_was_asked_for() -> None:
    """A hole at any level; altered bytes, or a segment that was replaced by one that is right in itself, where they are looked at."""
    for number in (5, 40, LONG):
        forgery = grown()
        noted = head(forgery)
        forgery.add(frames("db", b"new"))
        forgery.store.replace(segment_key(number), None)
        whole = play(verify(forgery.store, offload=inline))
        assert not whole.ok
        for level in LEVELS:
            since = noted if level in ("hashes", "share") else ""
            report = at_level(forgery, level, since=since)
            assert (report.bad_segments, report.restorable, report.ok) == (whole.bad_segments, whole.restorable, False), (number, level)
        for other in (b"altered", _another(number)):
            forgery.store.replace(segment_key(number), other)
            whole = play(verify(forgery.store, offload=inline))
            report = at_level(forgery, "share", turn=number, since=noted)
            assert (report.bad_segments, report.restorable, report.ok) == (whole.bad_segments, whole.restorable, False), number


def _another(number: int) -> bytes:
    """A segment of that number that belongs to another journal of the same archive."""
    forgery = Forgery()
    forgery.open()
    while forgery.number <= number:
        forgery.add(frames("db", b"other"))
    return forgery.store.peek(segment_key(number)) or b""


def test_damage_behind_the_head_tells_also_of_points_before_it() -> None:
    """The report is that of a whole verify."""
    forgery = grown()
    noted = head(forgery)
    bad = forgery.add(frames("db", b"new"))
    forgery.add(frames("db", b"newer"))
    forgery.store.replace(segment_key(bad), b"altered")
    whole = play(verify(forgery.store, offload=inline))
    report = at_level(forgery, "hashes", since=noted)
    assert (report.bad_segments, report.restorable, report.since, report.ok) == (whole.bad_segments, whole.restorable, "", False)


def test_history_that_was_written_anew_does_not_have_the_noted_head() -> None:
    """Nor one that was cut off before it: both are told as with a known head."""
    forgery = grown()
    number = forgery.end.segment
    assert "rewritten" in at_level(forgery, "hashes", since=f"{'ab' * 32}@{number}").head_fault
    assert "cut off" in at_level(forgery, "share", since=f"{forgery.end.chain.hex()}@{number + 9}").head_fault


def test_a_bad_part_is_found_in_its_turn() -> None:
    """By its size always, by its bytes when the segment that names it is in the share; at level hashes not."""
    forgery = grown()
    noted = head(forgery)
    stored = forgery.store.peek(KEY) or b""
    forgery.store.replace(KEY, bytes(len(stored)))
    assert at_level(forgery, "hashes").ok
    for since in ("", noted):
        assert at_level(forgery, "share", turn=1, since=since).ok
        report = at_level(forgery, "share", turn=2, since=since)
        assert [bad.key for bad in report.bad_parts] == [KEY]
    forgery.store.replace(KEY, stored[:-1])
    assert [bad.key for bad in at_level(forgery, "hashes", since=noted).bad_parts] == [KEY]


@pytest.mark.parametrize(("level", "since"), [("names", "ab" * 32 + "@1"), ("all", "ab" * 32 + "@1"), ("hashes", "ab" * 32)])
def test_what_cannot_be_meant_is_refused(level: Level, since: str) -> None:
    """A head with a level that does not go on from one, or without its segment's number."""
    with pytest.raises(Invalid):
        at_level(grown(), level, since=since)
