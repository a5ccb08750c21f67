"""A folded checkpoint in format 1, written once and never again: every later version must read it and mean the same by it."""

from __future__ import annotations

from pathlib import Path

from archiver.journal.keys import checkpoint_entry, checkpoint_key
from archiver.journal.parts import Part
from archiver.postgres.checkpoint_records import FoldedCheckpoint, KnownRelation, Origin, Place
from archiver.postgres.records import Snapshot, TableRows
from archiver.replay.postgres.plan.checkpoint_choice import decode_checkpoint

FILE = Path(__file__).parent / "checkpoint-v1" / "agents.json"
KEY = "checkpoints/agents-db/ffffffffffffcfc7.json"
ARCHIVE = "0123456789abcdef0123456789abcdef"


def test_it_is_read_as_ever() -> None:
    """Every field, and the key's number."""
    assert checkpoint_key("agents-db", 12344) == KEY
    assert checkpoint_entry("agents-db", KEY) == 12344
    found = decode_checkpoint(FILE.read_bytes(), key=KEY, archive=ARCHIVE, source="agents-db", entry=12344)
    part = Part("parts/agents-db/5f1e/000000.zst", 3, 70, 96, "ab" * 32)
    rows = TableRows(16400, "public", "runs", "key", ["id", "state"], [1, 3], [part])
    assert found == FoldedCheckpoint(
        archive=ARCHIVE,
        source="agents-db",
        entry=12344,
        time=1_790_000_000_000_001,
        segment=77,
        chain="cd" * 32,
        snapshot=Snapshot("16/B374D848", "", 1_790_000_000_000_005, 12345, [rows], cause="folded", floor="16/B374D848"),
        system_id="7400000000000000001",
        database="agents",
        schemas=[Place(11, 2), Place(9000, 60)],
        polls=[Place(12001, 76)],
        relations=[KnownRelation(16400, 9001, 3, (1, 3), (0, 2), "key", (1,), (0,))],
        origins=[Origin(16410, "16/A0000000", 1_780_000_000_000_000)],
        made=1_790_000_000_100_000,
        by="0.2.0",
    )
