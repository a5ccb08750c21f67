"""Since when announcements were sealed, as format 1 stores it since schema entries say it: every later version must mean the same by it."""

from __future__ import annotations

import msgspec
import pytest

from archiver.postgres.announcement_seal import SealKeys
from archiver.postgres.records import Catalog, Schema, Sealing

BEFORE = (
    b'{"lsn":"16/B374D848","visible":"740:745:740","taken":1800000000000000,"cause":"ddl","server_version":180000,"dump_version":"pg_dump",'
    b'"catalog":{"tables":[]},"floor":"16/B374D800","fingerprint":"f","since":"16/B3740000"'
)
KNOWN = Schema(
    "16/B374D848", "740:745:740", 1_800_000_000_000_000, "ddl", 180000, "pg_dump", Catalog([]), "16/B374D800", "f", "16/B3740000"
)
STORED = {
    BEFORE + b"}": None,
    BEFORE + b',"sealing":null}': None,
    BEFORE + b',"sealing":{"since":"16/B3730000","keys":"a61f"}}': Sealing("16/B3730000", "a61f"),
    BEFORE + b',"sealing":{"since":"16/B3730000","keys":"a61f","later":1}}': Sealing("16/B3730000", "a61f"),
}


@pytest.mark.parametrize("body", STORED)
def test_its_body_means_the_same(body: bytes) -> None:
    """Entries of programs that did not say it leave it not known."""
    assert msgspec.json.decode(body, type=Schema) == msgspec.structs.replace(KNOWN, sealing=STORED[body])


def test_the_name_of_keys_stays_the_same() -> None:
    """A restart compares it with the one that the journal has."""
    assert SealKeys(bytes(range(64)), bytes(range(64, 128))).name == "81a736e1eb3cdb94a5581f643ddf61bd"
