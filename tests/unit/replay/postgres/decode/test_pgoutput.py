"""Single messages."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from archiver.errors import Corrupt
from archiver.replay.postgres.decode.pgoutput import (
    UNCHANGED,
    Delete,
    Insert,
    Message,
    Relation,
    RelationColumn,
    Row,
    Truncate,
    Update,
    decode,
)
from tests.unit.replay.postgres import wire

ROWS = st.lists(st.binary(max_size=5) | st.none() | st.just(wire.UNCHANGED), max_size=4)


def seen(row: list[wire.Cell]) -> Row:
    return tuple(UNCHANGED if isinstance(cell, str) else cell for cell in row)


@given(new=ROWS, old=ROWS, full=st.booleans(), xid=st.none() | st.integers(1, 1 << 32))
def test_rows_are_read_as_written(new: list[wire.Cell], old: list[wire.Cell], full: bool, xid: int | None) -> None:
    """Every form of row message, in and out of a stream."""
    streamed = xid is not None
    assert decode(wire.insert(9, new, xid), streamed=streamed) == Insert(9, seen(new))
    assert decode(wire.update(9, new, xid=xid), streamed=streamed) == Update(9, seen(new), None, full=False)
    assert decode(wire.update(9, new, old, full=full, xid=xid), streamed=streamed) == Update(9, seen(new), seen(old), full=full)
    assert decode(wire.delete(9, old, full=full, xid=xid), streamed=streamed) == Delete(9, seen(old), full=full)


def test_other_messages_are_read_as_written() -> None:
    """Relation, Truncate and logical messages; kinds without content for us are None."""
    columns = (RelationColumn("id", 20, -1, key=True), RelationColumn("é", 25, -1, key=False))
    assert decode(wire.relation(5, "t", "d", [("id", 20, True), ("é", 25, False)]), streamed=False) == Relation(
        5, "public", "t", "d", columns
    )
    assert decode(wire.truncate([1, 2]), streamed=False) == Truncate((1, 2), cascade=False, restart_identity=False)
    assert decode(wire.logical_message("p", b"\0\xff", xid=4), streamed=True) == Message(True, 0, "p", b"\0\xff")
    assert decode(b"Y\0\0\0\1x\0y\0", streamed=False) is None


@given(new=ROWS, cut=st.integers(1, 20), place=st.integers(0, 30), value=st.integers(0, 255))
def test_damaged_messages_are_corrupt_or_read(new: list[wire.Cell], cut: int, place: int, value: int) -> None:
    """Nothing but Corrupt is raised, whatever the bytes."""
    message = bytearray(wire.update(9, new, new))[:-cut]
    if place < len(message):
        message[place] = value
    with contextlib.suppress(Corrupt):
        decode(bytes(message), streamed=False)
