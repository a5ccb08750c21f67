"""The reader of commits against one that goes frame by frame."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archiver.errors import Corrupt
from archiver.journal.entry import Kind, Placed, Run
from archiver.replay.postgres.decode.commit_reader import CommitReader
from archiver.replay.postgres.decode.commits import Commit, Limit
from tests.unit.replay.postgres import wire
from tests.unit.replay.postgres.fold.test_database import a_world, run
from tests.unit.replay.postgres.naive import transactions

TIME = 1_800_000_000_000_000
DDL = "archiver/ddl"


def read(placed: list[Placed], reader: CommitReader) -> list[Commit]:
    chunks = [chunk for one in placed for chunk in reader.feed(one)] + reader.flush()
    return [chunk[index] for chunk in chunks for index in range(len(chunk))]


def frames(*messages: bytes, first: int = 1) -> Placed:
    return Placed(first, 0, 1, 0, Run.of("db", Kind.PG_FRAMES, [wire.frame(message) for message in messages], observed=0))


@given(random=st.randoms(use_true_random=False), steps=st.integers(0, 30), batch=st.sampled_from([1, 300, 1 << 20]))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_commits_equal_frame_by_frame(random: Random, steps: int, batch: int) -> None:
    """Every schedule of transactions, streams, aborts and repetitions gives the same commits and the same announcements."""
    world = a_world(random)
    world.put(Kind.PG_STREAM, [b"{}"])
    run(world, steps)
    reader = CommitReader(batch_bytes=batch)
    found = read(world.placed, reader)
    want = [one for one in transactions(world.placed) if one.applied]
    assert found == [one.commit for one in want]
    announced = [one.commit.seq for one in want if any(text[:1] == b"M" and DDL.encode() in text for _, text in one.messages)]
    assert [each.seq for each in reader.announced] == announced


def test_a_change_in_a_streamed_transaction_is_announced_by_its_commit_alone() -> None:
    """Only when it commits, under the id of the whole transaction, and without what its rolled back part announced."""
    messages = [
        wire.stream_start(7, first=True),
        wire.logical_message(DDL, b"kept", xid=7),
        wire.logical_message(DDL, b"undone", xid=8),
        wire.stream_stop(),
        wire.begin(9, 100, TIME),
        wire.logical_message("other", b"x"),
        wire.commit(100, 110, TIME),
        wire.stream_abort(7, 8),
        wire.stream_start(20, first=True),
        wire.logical_message(DDL, b"never", xid=20),
        wire.stream_stop(),
        wire.stream_abort(20, 20),
        wire.stream_commit(7, 200, 210, TIME + 1),
    ]
    reader = CommitReader()
    assert [commit.xid for commit in read([frames(*messages)], reader)] == [9, 7]
    assert [(each.xid, each.commit_lsn, each.contents) for each in reader.announced] == [(7, 200, [b"kept"])]
    assert reader.unfinished == 0


def test_a_new_stream_voids_what_was_unfinished() -> None:
    """Begun and not ended before PG_STREAM: it comes again, whole, and its announcement is counted once."""
    half = frames(wire.begin(5, 50, TIME), wire.logical_message(DDL, b"a"))
    stream = Placed(3, 0, 1, 0, Run.of("db", Kind.PG_STREAM, [b"{}"], observed=0))
    whole = frames(wire.begin(5, 50, TIME), wire.logical_message(DDL, b"a"), wire.commit(50, 60, TIME), first=4)
    again = frames(wire.begin(5, 50, TIME), wire.logical_message(DDL, b"a"), wire.commit(50, 60, TIME), first=7)
    reader = CommitReader()
    assert [commit.seq for commit in read([half, stream, whole, stream, again], reader)] == [6]
    assert [each.seq for each in reader.announced] == [6]


def test_limits_cut_at_the_first_transaction_beyond() -> None:
    """By number, by end LSN, and by time: commit order wins over the clock."""
    messages = []
    for number, time in enumerate([10, 30, 20], 1):
        messages += [wire.begin(number, number * 10, TIME + time), wire.commit(number * 10, number * 10 + 5, TIME + time)]
    reader = CommitReader()
    reader.feed(frames(*messages))
    [commits] = reader.flush()
    assert [commits.beyond(limit) for limit in (Limit(seq=3), Limit(lsn=25), Limit(lsn=24), Limit(time=TIME + 25), Limit())] == [
        1,
        2,
        1,
        1,
        3,
    ]


def test_frames_out_of_turn_are_corrupt() -> None:
    """A commit without its beginning is never passed over."""
    for messages in ([wire.commit(1, 2, TIME)], [wire.logical_message(DDL, b""), wire.commit(1, 2, TIME)]):
        with pytest.raises(Corrupt):
            read([frames(*messages)], CommitReader())
