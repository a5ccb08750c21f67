"""What ends a gap: the next complete state, or a copy of its table."""

from __future__ import annotations

import msgspec

from archiver.journal.folded_checkpoints import Naming
from archiver.journal.found_gaps import FoundGaps
from archiver.journal.records import Gap


def copies(*tables: tuple[int, str], taken: int) -> Naming:
    return msgspec.convert({"taken": taken, "tables": [{"oid": oid, "schema": "public", "name": name} for oid, name in tables]}, Naming)


def test_a_complete_state_ends_all_of_its_source() -> None:
    """And nothing of another one."""
    gaps = FoundGaps()
    gaps.gap("a", 1, Gap("all", "slot_lost"))
    gaps.gap("a", 2, Gap("table public.t", "too_large", relation=7))
    gaps.gap("b", 3, Gap("all", "slot_lost"))
    gaps.complete("a", 4, 40)
    gaps.complete("a", 5, 50)
    assert [(each.ended, each.ended_time) for each in gaps.found] == [(4, 40), (4, 40), (0, 0)]


def test_a_copy_ends_the_gaps_of_its_tables() -> None:
    """By oid where the gap has one, because tables are renamed; else by name."""
    gaps = FoundGaps()
    gaps.gap("a", 1, Gap("table public.old", "too_large", relation=7))
    gaps.gap("a", 2, Gap('table public."t u"', "table_added"))
    gaps.gap("a", 3, Gap("table public.new", "too_large", relation=8))
    gaps.copied("a", 4, copies((7, "new"), (9, "t u"), taken=40))
    assert [each.ended for each in gaps.found] == [4, 4, 0]
    gaps.gap("a", 5, Gap("table public.new", "too_large", relation=7))
    assert gaps.found[-1].ended == 0


def test_a_gap_that_says_its_end_needs_nobody_for_it() -> None:
    """It is closed already."""
    gaps = FoundGaps()
    gaps.gap("a", 1, Gap("all", "overflow", to_position="12", to_time=9))
    gaps.complete("a", 2, 20)
    assert gaps.found[0].ended == 0
