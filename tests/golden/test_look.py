"""A look at the catalog as format 1 stores it since it has the kind: every later version must read it and mean the same by it."""

from __future__ import annotations

import msgspec
import pytest

from archiver.journal.entry import Kind
from archiver.postgres.records import Look

STORED = {
    b'{"floor":"16/B374D848","taken":1800000000000000}': Look("16/B374D848", 1_800_000_000_000_000),
    b'{"floor":"16/B374D848","taken":1800000000000000,"counted":"16/B3000000","counted_at":1799999900000000}': Look(
        "16/B374D848", 1_800_000_000_000_000, "16/B3000000", 1_799_999_900_000_000
    ),
    b'{"floor":"16/B374D848","taken":1800000000000000,"counted":"","counted_at":0,"end":"16/B374D900"}': Look(
        "16/B374D848", 1_800_000_000_000_000, end="16/B374D900"
    ),
    b'{"floor":"16/B374D848","taken":1800000000000000,"counted":"","counted_at":0,"end":"16/B374D900","visible":"740:745:740,742"}': Look(
        "16/B374D848", 1_800_000_000_000_000, end="16/B374D900", visible="740:745:740,742"
    ),
}


@pytest.mark.parametrize("body", STORED)
def test_its_body_means_the_same(body: bytes) -> None:
    """Fields that are missing have their defaults, fields that are unknown are passed over."""
    assert msgspec.json.decode(body, type=Look) == STORED[body]
    assert msgspec.json.decode(body[:-1] + b',"later":1}', type=Look) == STORED[body]


def test_its_kind_keeps_its_number() -> None:
    """Numbers of kinds are stored."""
    assert Kind(22) is Kind.PG_LOOK
