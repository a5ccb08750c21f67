"""The journal's newest commit must come again, exactly; nothing else may come in its place."""

from __future__ import annotations

import struct

import pytest

from archiver.capture.postgres.stream.continuation import Continuation, Diverged
from archiver.capture.postgres.stream.packer import Packer
from archiver.postgres.replication_messages import SentCommit

NEWEST = SentCommit(7, 100, 140, 5000)


def frame(message: bytes) -> bytes:
    return struct.pack(">cQQq", b"w", 0, 0, 0) + message


def transaction(xid: int, lsn: int, end: int, time: int) -> list[bytes]:
    return [frame(struct.pack(">cQqI", b"B", lsn, time, xid)), frame(struct.pack(">cBQQq", b"C", 0, lsn, end, time))]


def test_the_same_commit_proves_it() -> None:
    """What ends before it proves nothing, and what comes behind it is not looked at."""
    proof = Continuation(NEWEST)
    proof.look(transaction(6, 60, 90, 4000))
    assert not proof.proven
    proof.passed(139)
    proof.look(transaction(*NEWEST) + transaction(1, 150, 160, 1))
    proof.passed(500)
    assert proof.proven


@pytest.mark.parametrize("other", [(8, 100, 140, 5000), (7, 100, 140, 5001), (7, 100, 141, 5000), (7, 99, 140, 5000), (9, 150, 160, 6000)])
def test_another_one_in_its_place_tells_of_another_history(other: tuple[int, int, int, int]) -> None:
    """Another transaction, time or place, or one behind it while it has not come."""
    with pytest.raises(Diverged):
        Continuation(NEWEST).look(transaction(*other))


def test_a_server_that_passes_it_without_sending_it_has_another_history() -> None:
    """A keepalive says that everything before it was sent."""
    with pytest.raises(Diverged):
        Continuation(NEWEST).passed(140)


def test_a_streamed_transaction_proves_it_too() -> None:
    """Its end names the xid itself; where the journal has not seen a beginning, place and time decide."""
    for xid in (7, 0):
        proof = Continuation(NEWEST._replace(xid=xid))
        proof.look([frame(struct.pack(">cIBQQq", b"c", 7, 0, 100, 140, 5000))])
        assert proof.proven


def test_no_run_is_packed_of_another_history() -> None:
    """Neither from frames alone nor when a keepalive finds them gathered; nothing to prove is proven."""
    packer = Packer("db", 140, continuation=Continuation(NEWEST))
    packer.frames.extend(transaction(8, 100, 150, 5000))
    with pytest.raises(Diverged):
        packer.keepalive(160)
    with pytest.raises(Diverged):
        packer.pack(1)
    packer = Packer("db", 140, continuation=Continuation(NEWEST))
    packer.frames.extend(transaction(*NEWEST))
    packer.keepalive(160)
    assert packer.proven
    assert Packer("db", 140).proven
