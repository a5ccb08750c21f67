"""A step of a clock as format 1 stores it since it has the kind: every later version must read it and mean the same by it."""

from __future__ import annotations

import msgspec
import pytest

from archiver.journal.entry import Kind
from archiver.journal.records import ClockStep

STORED = {
    b'{"time":1800000000000000,"step":-3600000000,"believed":true,"reason":"source"}': ClockStep(
        1_800_000_000_000_000, -3_600_000_000, believed=True, reason="source"
    ),
    b'{"time":1800000000000000,"step":86400000000}': ClockStep(1_800_000_000_000_000, 86_400_000_000),
}


@pytest.mark.parametrize("body", STORED)
def test_its_body_means_the_same(body: bytes) -> None:
    """Fields that are missing have their defaults, fields that are unknown are passed over."""
    assert msgspec.json.decode(body, type=ClockStep) == STORED[body]
    assert msgspec.json.decode(body[:-1] + b',"later":1}', type=ClockStep) == STORED[body]


def test_its_kind_keeps_its_number() -> None:
    """Numbers of kinds are stored."""
    assert Kind(7) is Kind.CLOCK
