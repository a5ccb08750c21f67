"""The look at what the server describes, before it is journaled."""

from __future__ import annotations

import pytest

from archiver.capture.postgres.catalog.redaction import Redaction
from archiver.capture.postgres.stream.packer import Packer
from archiver.capture.postgres.stream.redaction_guard import Exposed
from archiver.errors import Unavailable


def relation(*columns: str, xid: bytes = b"", table: bytes = b"users") -> bytes:
    """An XLogData message with a Relation."""
    described = b"".join(b"\x00" + name.encode() + b"\x00" + b"\x00\x00\x00\x19\xff\xff\xff\xff" for name in columns)
    head = b"\x00\x00\x40\x00public\x00" + table + b"\x00d" + len(columns).to_bytes(2, "big")
    return b"w" + bytes(24) + b"R" + xid + head + described


def packer() -> Packer:
    return Packer("db", 0, redaction=Redaction(["public.users.secret"]))


@pytest.mark.parametrize("xid", [b"", b"\x00\x00\x02\xf1", b"users"[:4]], ids=["whole", "streamed", "an id that reads as text"])
def test_nothing_is_given_of_what_has_a_hidden_column(xid: bytes) -> None:
    """Whether a transaction is sent whole or in blocks; and what was gathered with it is gone as well."""
    made = packer()
    made.frames += [relation("id", "name", xid=xid), relation("id", "secret", xid=xid)]
    with pytest.raises(Exposed, match=r"public\.users\.secret"):
        made.pack(1)
    assert made.pack(2) is None


def test_what_has_none_is_given_as_it_came() -> None:
    """Another table may have a column of that name."""
    made = packer()
    frames = [relation("id", "name"), relation("id", "secret", table=b"others"), relation(), relation("id", xid=bytes(4))]
    made.frames += frames
    run = made.pack(1)
    assert run is not None
    assert bytes(run.data) == b"".join(frames)


@pytest.mark.parametrize("frame", [relation("id")[:-1], relation("id") + b"x", b"w" + bytes(24) + b"R\x00"])
def test_what_cannot_be_read_is_not_taken(frame: bytes) -> None:
    """A description of no known form could hide a column."""
    made = packer()
    made.frames.append(frame)
    with pytest.raises(Unavailable):
        made.pack(1)
