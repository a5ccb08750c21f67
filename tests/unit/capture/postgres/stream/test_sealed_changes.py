"""Which transactions surely announced a change is journaled before the frames that end them."""

from __future__ import annotations

import msgspec

from archiver.capture.postgres.stream.packer import Packer
from archiver.journal.entry import Kind
from archiver.postgres.announcement_seal import KEY_BYTES, SealKeys
from archiver.postgres.records import Announced
from tests.unit.postgres.frames import begin, commit, insert, message, stream_abort, stream_commit, stream_start, stream_stop

NOW = 1_800_000_000_000_000
KEYS = SealKeys(b"i" * KEY_BYTES, b"o" * KEY_BYTES)


def announcement(xid: int, *, within: int | None = None, keys: SealKeys = KEYS, tag: str = "ALTER TABLE") -> bytes:
    said = f'{{"lsn": "0/1", "tag": "{tag}", "xid": "{xid}", "objects": []}}'
    return message(b"archiver/ddl", f'{said[:-1]}, "seal": "{keys.seal(said.encode())}"}}'.encode(), xid=within)


class Packed:
    """A packer, and what it said of transactions."""

    def __init__(self, keys: SealKeys | None = KEYS) -> None:
        self.packer = Packer("db", 10, keys=lambda: keys)

    def pack(self, *frames: bytes) -> list[Announced]:
        self.packer.frames.extend(frames)
        assert self.packer.pack(NOW) is not None
        run = self.packer.announced(NOW)
        if run is None:
            return []
        assert (run.kind, run.source, run.position, run.changed) == (Kind.PG_ANNOUNCED, "db", "", 0)
        return [msgspec.json.decode(body, type=Announced) for body in run.bodies()]


def test_a_transaction_counts_once_it_commits() -> None:
    """Over any number of runs; each message once, each command once."""
    made = Packed()
    assert made.pack(begin(100, 7), announcement(7), insert()) == []
    assert made.pack(announcement(7), announcement(7, tag="DROP TABLE")) == []
    [found] = made.pack(insert(), commit(100, 120))
    assert (found.xid, found.lsn, found.messages, found.tags) == (7, "0/64", ["0/5"] * 3, ["ALTER TABLE", "DROP TABLE"])
    assert made.pack(begin(200, 8), insert(), commit(200, 220)) == []


def test_what_came_before_the_message_in_another_run_is_known() -> None:
    """The transaction's id stands in its beginning alone."""
    made = Packed()
    assert made.pack(begin(100, 7), insert()) == []
    assert [each.xid for each in made.pack(announcement(7), commit(100, 120))] == [7]


def test_what_anybody_can_send_does_not_count() -> None:
    """Another transaction's, another key's, one that is of no transaction, one without a seal; and nothing without keys."""
    other = SealKeys(b"x" * KEY_BYTES, b"o" * KEY_BYTES)
    said = message(b"archiver/ddl", b'{"tag": "ALTER TABLE", "objects": []}')
    assert Packed().pack(begin(100, 7), announcement(6), announcement(7, keys=other), said, commit(100, 120)) == []
    assert Packed().pack(announcement(7), begin(100, 7), commit(100, 120)) == []
    assert Packed(None).pack(begin(100, 7), announcement(7), commit(100, 120)) == []


def test_a_transaction_that_is_streamed_counts_with_its_commit() -> None:
    """Its messages name the subtransaction that sent them; what rolls back is none."""
    made = Packed()
    block = (stream_start(9), announcement(9, within=9), announcement(9, within=11), stream_stop())
    assert made.pack(*block) == []
    assert made.pack(begin(100, 7), insert(), commit(100, 120)) == []
    [found] = made.pack(stream_commit(9, 300, 320))
    assert (found.xid, found.lsn, len(found.messages)) == (9, "0/12C", 2)
    assert made.pack(*block, stream_abort(9), stream_start(9), announcement(9, within=9), stream_stop()) == []
    assert [len(each.messages) for each in made.pack(stream_commit(9, 400, 420))] == [1]
