"""A look at the catalog as format 1 stores it since it has the kind: every later version must read it and mean the same by it."""

from __future__ import annotations

import msgspec

from archiver.journal.entry import Kind
from archiver.postgres.records import Look

BODY = b'{"floor":"16/B374D848","taken":1800000000000000}'


def test_its_body_means_the_same() -> None:
    """Fields that are unknown are passed over."""
    look = Look("16/B374D848", 1_800_000_000_000_000)
    assert msgspec.json.encode(look) == BODY
    assert msgspec.json.decode(BODY, type=Look) == look
    assert msgspec.json.decode(BODY[:-1] + b',"later":1}', type=Look) == look


def test_its_kind_keeps_its_number() -> None:
    """Numbers of kinds are stored."""
    assert Kind(22) is Kind.PG_LOOK
