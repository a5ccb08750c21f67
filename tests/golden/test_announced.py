"""What is known of an announcement as format 1 stores it since it has the kind: every later version must read it and mean the same by it."""

from __future__ import annotations

import msgspec
import pytest

from archiver.journal.entry import Kind
from archiver.postgres.announcement_seal import SealKeys
from archiver.postgres.records import Announced

STORED = {
    b'{"xid":771,"lsn":"16/B374D848","time":1800000000000000,"messages":["16/B374D700","16/B374D7A8"],"tags":["ALTER TABLE"]}': Announced(
        771, "16/B374D848", 1_800_000_000_000_000, ["16/B374D700", "16/B374D7A8"], ["ALTER TABLE"]
    ),
    b'{"xid":771,"lsn":"16/B374D848","time":1800000000000000,"messages":[]}': Announced(771, "16/B374D848", 1_800_000_000_000_000, []),
}
SENT = (
    b'{"lsn": "16/B374D6F8", "tag": "DROP TABLE", "xid": "4294968067", "event": "sql_drop", "objects":'
    b' [{"oid": 7, "type": "table", "identity": "public.t"}], "seal": "94ebf073e52731b44c399b91281a4ebf0be5e5ad2d227fdfd74fd5e4cda9febe"}'
)


@pytest.mark.parametrize("body", STORED)
def test_its_body_means_the_same(body: bytes) -> None:
    """Fields that are missing have their defaults, fields that are unknown are passed over."""
    assert msgspec.json.decode(body, type=Announced) == STORED[body]
    assert msgspec.json.decode(body[:-1] + b',"later":1}', type=Announced) == STORED[body]


def test_its_kind_keeps_its_number() -> None:
    """Numbers of kinds are stored."""
    assert Kind(23) is Kind.PG_ANNOUNCED


def test_a_seal_stays_the_same() -> None:
    """Functions of an earlier version stand in databases for years."""
    keys = SealKeys(bytes(range(64)), bytes(range(64, 128)))
    assert keys.made(SENT, 771, 0x16_B374_D700)
