"""A boundary, a plan and a hold in format 1, written once and never again: every later version must read them and mean the same."""

from __future__ import annotations

from pathlib import Path

import msgspec

from archiver.journal.boundary import Boundary, Floor, Kept, decode_boundary
from archiver.journal.entry import SourceMark
from archiver.journal.extent import Span
from archiver.journal.keys import boundary_key, boundary_number, hold_key, plan_key
from archiver.retention.holds import Hold, holds
from archiver.retention.retirement_plan import RetirementPlan, open_plans
from archiver.store.memory import MemoryStore
from tests.simulation.loop import play

FOLDER = Path(__file__).parent / "retention-v1"
ARCHIVE = "0123456789abcdef0123456789abcdef"
IDENTITY = "01790000000000000000-fedcba9876543210fedcba9876543210"
MARK = SourceMark("16/B374D848", 1_789_000_000_000_000, 1_789_000_000_000_001, 40, 3, 38, 2, 990, 3)


def test_a_boundary_is_read_as_ever() -> None:
    """Every field, and the key's number; the newest sorts first."""
    assert boundary_key(2) == "retention/boundaries/fffffffffffffffd.json" < boundary_key(1)
    assert boundary_number(boundary_key(2)) == 2
    found = decode_boundary((FOLDER / "boundary.json").read_bytes(), 2)
    assert found == Boundary(
        archive=ARCHIVE,
        number=2,
        first=1000,
        chain="ab" * 32,
        epoch=7,
        session=900,
        next=50_001,
        time=1_789_000_000_000_002,
        sources={"agents-db": MARK},
        begins={"agents-db": 1},
        kept=[Kept(2, 3, "cd" * 32), Kept(900, 900, "ef" * 32)],
        floors={"agents-db": Floor(50_100, 1_789_100_000_000_000)},
        marks={"before-2.0": 49_000},
        plan=IDENTITY,
        made=1_790_086_400_000_000,
        by="0.2.0",
    )
    assert [number in found.extent for number in (0, 2, 3, 4, 899, 900, 999, 1000)] == [False, True, True, False, False, True, False, True]


def test_a_plan_and_a_hold_are_read_as_ever() -> None:
    """Every field, from their keys."""
    store = MemoryStore()
    store.create(plan_key(IDENTITY), (FOLDER / "plan.json").read_bytes())
    store.create(hold_key("case 17"), (FOLDER / "hold.json").read_bytes())
    assert store.names("", "", None) == ["retention/holds/case=2017.json", f"retention/plans/{IDENTITY}.json"]
    assert play(holds(store)) == [Hold("case 17", "asked for", 1_790_000_000_000_000)]
    assert play(open_plans(store)) == [
        RetirementPlan(
            archive=ARCHIVE,
            identity=IDENTITY,
            after=1,
            first=1000,
            kept=[Span(2, 3), Span(900, 900)],
            segments=997,
            share=0.25,
            bytes=123_456,
            checkpoints=["checkpoints/agents-db/ffffffffffffcfc7.json"],
            parts=["parts/agents-db/5f1e/000000.zst"],
            marks={"before-2.0": 49_000},
            floors={"agents-db": Floor(50_100, 1_789_100_000_000_000)},
            held="the checkpoint at entry 50010",
            made=1_790_000_000_000_000,
            journal_time=1_790_000_000_000_000,
            by="0.2.0",
        )
    ]


def test_fields_of_later_versions_are_passed_over() -> None:
    """Room for them."""
    body = msgspec.json.decode((FOLDER / "boundary.json").read_bytes()) | {"later": [1]}
    assert decode_boundary(msgspec.json.encode(body), 2).first == 1000
