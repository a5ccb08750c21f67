"""What was surely announced, and not looked at before the next change or at all, is a gap for whoever asks without a point."""

from __future__ import annotations

import msgspec
import pytest

from archiver.journal.entry import Kind, Placed, Run
from archiver.journal.records import Gap
from archiver.postgres.records import Announced, Catalog, Look, Schema
from archiver.postgres.unseen_changes import UnseenChanges


class Fed:
    """Runs of one source, numbered."""

    def __init__(self) -> None:
        self.changes, self.seq = UnseenChanges(), 0

    def feed(self, kind: Kind, *records: msgspec.Struct, source: str = "db") -> list[tuple[int, str, str]]:
        run = Run.of(source, kind, [msgspec.json.encode(each) for each in records], observed=1)
        placed = Placed(self.seq + 1, 0, 1, 1, run)
        self.seq += run.count
        return self.told(self.changes.feed(placed))

    def told(self, gaps: list[tuple[str, int, Gap]] | None = None) -> list[tuple[int, str, str]]:
        found = self.changes.rest() if gaps is None else gaps
        return [(seq, gap.from_position, gap.to_position) for _, seq, gap in found]

    def announce(self, xid: int, tag: str = "ALTER TABLE") -> list[tuple[int, str, str]]:
        # Each transaction of these tests commits where its id says.
        return self.feed(Kind.PG_ANNOUNCED, Announced(xid, f"0/{xid:X}", xid, [f"0/{xid:X}"], [tag]))


def schema(visible: str, lsn: str = "0/FF") -> Schema:
    return Schema(lsn, visible, 0, "ddl", 180000, "", Catalog([]))


def test_one_that_is_looked_at_is_none() -> None:
    """By a schema that has it, or by a look that found the old one."""
    fed = Fed()
    assert fed.announce(5) == []
    assert fed.feed(Kind.PG_SCHEMA, schema("8:8:")) == []
    assert fed.announce(9) == []
    assert fed.feed(Kind.PG_LOOK, Look("0/A", 0)) == []
    assert fed.told() == []


def test_a_look_has_what_its_snapshot_saw() -> None:
    """Whatever else was open meanwhile."""
    fed = Fed()
    fed.announce(5)
    assert fed.feed(Kind.PG_LOOK, Look("0/2", 0, end="0/A", visible="3:6:3,5")) == []
    assert fed.changes._open
    assert fed.feed(Kind.PG_LOOK, Look("0/2", 0, end="0/A", visible="3:6:3")) == []
    assert fed.told() == []


def test_one_that_is_not_looked_at_is_open() -> None:
    """Also where a look came that did not see it; one that shows in no schema is none; another source's are its own."""
    fed = Fed()
    fed.announce(5)
    assert fed.feed(Kind.PG_SCHEMA, schema("5:8:5")) == []
    assert fed.feed(Kind.PG_LOOK, Look("0/5", 0)) == []
    assert fed.feed(Kind.PG_SCHEMA, schema("8:8:"), source="other") == []
    fed.announce(6, "REFRESH MATERIALIZED VIEW")
    assert fed.told() == [(1, "0/5", "")]


@pytest.mark.parametrize("sent_again", [False, True])
def test_several_before_one_look_are_a_gap_between_them(sent_again: bool) -> None:
    """Behind the last the schema is known. What is sent again after a restart is the same."""
    fed = Fed()
    for xid in (5, 6, 7, *((5, 6, 7) if sent_again else ())):
        fed.announce(xid)
    assert fed.feed(Kind.PG_SCHEMA, schema("8:8:")) == [(1, "0/5", "0/7")]
    assert fed.told() == []


def test_what_was_looked_at_and_is_sent_again_is_no_gap() -> None:
    """Each had a look of its own; the one that had none is open still. Behind a baseline LSNs may be another server's."""
    fed = Fed()
    for xid in (5, 7):
        fed.announce(xid)
        assert fed.feed(Kind.PG_SCHEMA, schema("8:8:")) == []
    fed.announce(9)
    for xid in (5, 7, 9):
        fed.announce(xid)
    assert fed.feed(Kind.PG_SCHEMA, schema("8:8:")) == []
    assert fed.feed(Kind.CHECKPOINT, Look("", 0)) == [(5, "0/9", "")]
    fed.announce(4)
    assert fed.told() == [(11, "0/4", "")]


def test_a_new_baseline_ends_it() -> None:
    """Whoever finds the gap hears of it before the baseline."""
    fed = Fed()
    fed.announce(5)
    assert fed.feed(Kind.CHECKPOINT, Look("", 0)) == [(1, "0/5", "")]
    assert fed.told() == []
