"""The column-wise transaction reader against one that goes frame by frame."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archiver.errors import Corrupt
from archiver.journal.entry import Kind, Placed, Run
from archiver.replay.postgres.decode.commits import Limit
from archiver.replay.postgres.decode.transactions import Chunk, TransactionReader
from tests.unit.replay.postgres import wire
from tests.unit.replay.postgres.fold.test_database import a_world, run
from tests.unit.replay.postgres.naive import Transaction, transactions

TIME = 1_800_000_000_000_000


def read(placed: list[Placed], reader: TransactionReader) -> list[Chunk]:
    chunks = [chunk for one in placed for chunk in reader.feed(one)]
    return [*chunks, *reader.flush()]


def flat(chunks: list[Chunk]) -> list[tuple[int, bytes, int, bool]]:
    return [
        (int(seq), chunk.data[begin:end].tobytes(), chunk.transactions[int(txn)].seq, chunk.streamed)
        for chunk in chunks
        for seq, begin, end, txn in zip(chunk.seqs, chunk.starts, chunk.ends, chunk.txn, strict=True)
    ]


def expected(found: list[Transaction]) -> list[tuple[int, bytes, int, bool]]:
    return [(seq, message, one.commit.seq, one.streamed) for one in found for seq, message in one.messages]


def frames(*messages: bytes, first: int = 1) -> Placed:
    return Placed(first, 0, 1, 0, Run.of("db", Kind.PG_FRAMES, [wire.frame(message) for message in messages], observed=0))


@given(random=st.randoms(use_true_random=False), steps=st.integers(0, 30), batch=st.sampled_from([1, 300, 1 << 20]))
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
def test_reader_equals_frame_by_frame(random: Random, steps: int, batch: int) -> None:
    """Every schedule of transactions, streams, aborts and repetitions gives the same messages in the same order."""
    world = a_world(random)
    world.put(Kind.PG_STREAM, [b"{}"])
    run(world, steps)
    from_lsn = random.choice([0, world.lsn // 2 + 0x8000])
    seq = random.choice([None, random.randint(0, world.seq)])
    reader = TransactionReader(from_lsn=from_lsn, limit=Limit(seq=seq), batch_bytes=batch)
    chunks = read(world.placed, reader)
    want = transactions(world.placed, from_lsn=from_lsn)
    if seq is not None:
        beyond = [place for place, one in enumerate(want) if one.applied and one.commit.seq > seq]
        want = want[: beyond[0]] if beyond else want
        assert reader.done == bool(beyond)
    assert flat(chunks) == expected(want)
    applied = [one.commit for one in want if one.applied]
    assert reader.applied == len(applied)
    assert reader.last == (applied[-1] if applied else None)


def test_time_limit_stops_at_the_first_later_transaction() -> None:
    """A transaction that commits earlier by the clock than one before it is beyond the limit when that one is."""
    messages = []
    for number, time in enumerate([10, 30, 20], 1):
        messages += [wire.begin(number, number * 10, TIME + time), wire.commit(number * 10, number * 10 + 5, TIME + time)]
    reader = TransactionReader(limit=Limit(time=TIME + 25))
    read([frames(*messages)], reader)
    assert reader.last is not None
    assert reader.last.xid == 1
    assert reader.done


@pytest.mark.parametrize(
    "messages",
    [
        [wire.commit(1, 2, TIME)],
        [wire.begin(1, 1, TIME), wire.begin(2, 1, TIME)],
        [wire.insert(1, [b"x"])],
        [wire.begin(1, 1, TIME), wire.commit(9, 10, TIME)],
        [wire.stream_start(1, first=True), wire.begin(1, 1, TIME)],
        [wire.stream_start(1, first=True), wire.stream_commit(1, 1, 2, TIME)],
        [wire.stream_stop()],
        [wire.stream_commit(7, 1, 2, TIME)],
        [wire.stream_start(7, first=False), wire.stream_stop(), wire.stream_commit(7, 1, 2, TIME)],
        [b"b" + bytes(30)],
        [b""],
    ],
)
def test_broken_protocol_is_corrupt(messages: list[bytes]) -> None:
    """Frames that do not form transactions are refused, not skipped."""
    with pytest.raises(Corrupt):
        read([frames(*messages)], TransactionReader())


def test_a_stream_whose_beginning_the_checkpoint_has_may_lack_it() -> None:
    """A transaction older than the checkpoint need not be whole."""
    reader = TransactionReader(from_lsn=100)
    chunks = read([frames(wire.stream_start(7, first=False), wire.stream_stop(), wire.stream_commit(7, 1, 2, TIME))], reader)
    assert flat(chunks) == []
    assert reader.applied == 0


def test_relations_of_an_aborted_subtransaction_are_kept() -> None:
    """The server described the table once for the whole transaction, whatever became of the savepoint."""
    described = wire.relation(1, "t", "d", [("id", 25, True)], 8)
    kept = wire.insert(1, [b"kept"], 7)
    block = [wire.stream_start(7, first=True), described, wire.insert(1, [b"gone"], 8), wire.stream_stop(), wire.stream_abort(7, 8)]
    rest = [wire.stream_start(7, first=False), kept, wire.stream_stop(), wire.stream_commit(7, 1, 2, TIME)]
    found = flat(read([frames(*block, *rest)], TransactionReader()))
    assert [message for _, message, _, _ in found] == [described, kept]
