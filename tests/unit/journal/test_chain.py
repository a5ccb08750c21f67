"""Which segments count."""

from __future__ import annotations

import msgspec
import pytest

from archiver.errors import Corrupt
from archiver.journal.chain import End, follow, valid_among
from archiver.journal.entry import Kind, Run
from archiver.journal.segment import Segment, SegmentFooter, SegmentHeader

FIRST = SegmentHeader(
    archive="a", number=0, epoch=1, first=1, count=1, time=10, observed_min=0, observed_max=0, prev=bytes(32), sources={}, session=0
)
SESSION = Run.of("", Kind.SESSION, [b"{}"], observed=1)


def segment(header: SegmentHeader, chain: bytes = b"c" * 32) -> Segment:
    return Segment(header, SegmentFooter(content=bytes(32), chain=chain, raw=0, blocks=0), [SESSION], 0)


def after_first() -> End:
    end = follow(End("a"), segment(FIRST))
    assert end is not None
    return end


def test_a_segment_that_continues_the_last_one_is_the_new_end() -> None:
    """Its chain and its numbers are what the next must continue."""
    end = after_first()
    following = msgspec.structs.replace(FIRST, number=1, first=2, count=3, time=11, prev=end.chain)
    new = follow(end, segment(following, b"d" * 32))
    assert new is not None
    assert (new.segment, new.next, new.chain) == (1, 5, b"d" * 32)


def test_a_lower_epoch_is_void() -> None:
    """Whatever else is wrong with it."""
    end = msgspec.structs.replace(after_first(), epoch=2)
    assert follow(end, segment(msgspec.structs.replace(FIRST, number=1, prev=b"x" * 32))) is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"archive": "b"}, "belongs to archive b"),
        ({"prev": b"x" * 32}, "does not continue"),
        ({"first": 3}, "its first entry is number 3"),
        ({"time": 10}, "its time is not after"),
    ],
)
def test_what_does_not_continue_is_damage(wrong: dict[str, object], said: str) -> None:
    """And says in what."""
    end = after_first()
    following = msgspec.structs.replace(FIRST, number=1, first=2, time=11, prev=end.chain)
    with pytest.raises(Corrupt, match=said):
        follow(end, segment(msgspec.structs.replace(following, **wrong)))


def test_a_higher_epoch_begins_with_its_session() -> None:
    """Nobody else may raise it."""
    end = after_first()
    header = msgspec.structs.replace(FIRST, number=1, first=2, time=11, prev=end.chain, epoch=2)
    assert follow(end, segment(header)) is not None
    with pytest.raises(Corrupt, match="without a session"):
        follow(end, msgspec.structs.replace(segment(header), runs=[]))


def test_headers_alone_show_which_are_void() -> None:
    """Those below the highest epoch before them."""
    headers = [msgspec.structs.replace(FIRST, number=number, epoch=epoch) for number, epoch in enumerate((1, 2, 1, 2, 3))]
    assert [header.number for header in valid_among(headers)] == [0, 1, 3, 4]
