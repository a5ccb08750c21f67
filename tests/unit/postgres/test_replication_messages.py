"""LSNs and the messages around pgoutput, by the layouts in the manual."""

from __future__ import annotations

import struct

import pytest

from archiver.postgres.lsn import format_position, parse_position
from archiver.postgres.replication_messages import PG_EPOCH, commit_end, parse_keepalive, status_update
from tests.unit.postgres.frames import commit, stream_commit


@pytest.mark.parametrize(
    ("text", "lsn"), [("", 0), ("0/0", 0), ("0/1500060", 0x1500060), ("16/B374D848", 0x16B374D848), ("FFFFFFFF/FFFFFFFF", 2**64 - 1)]
)
def test_lsn_text_is_read(text: str, lsn: int) -> None:
    """An LSN's text means the number whose halves it shows."""
    assert parse_position(text) == lsn


@pytest.mark.parametrize("lsn", [1, 0x1500060, 2**32, 2**64 - 1])
def test_lsn_text_round_trips(lsn: int) -> None:
    """What is written is read back as the same number."""
    assert parse_position(format_position(lsn)) == lsn


@pytest.mark.parametrize("text", ["1500060", "0/", "x/1", "123456789/0", "0/123456789"])
def test_other_text_is_no_lsn(text: str) -> None:
    """Text in another form is refused, never read as some position."""
    with pytest.raises(ValueError):
        parse_position(text)


def test_keepalive_is_read() -> None:
    """Position and the wish for an answer are taken from their places."""
    body = struct.pack(">cQqB", b"k", 0x16B374D848, 5, 1)
    assert parse_keepalive(body) == (0x16B374D848, True)


def test_status_update_reports_one_position_three_times() -> None:
    """Written, flushed and applied are the same durable position: a commit may wait for any of them."""
    body = status_update(77, PG_EPOCH + 5, reply=True)
    assert struct.unpack(">cQQQqB", body) == (b"r", 77, 77, 77, 5, 1)


def test_commit_end_is_read_from_both_kinds_of_commit() -> None:
    """End LSN and time stand at different offsets in Commit and Stream Commit."""
    assert commit_end(commit(100, 200, PG_EPOCH + 9)) == (200, PG_EPOCH + 9)
    assert commit_end(stream_commit(5, 100, 300, PG_EPOCH + 8)) == (300, PG_EPOCH + 8)
