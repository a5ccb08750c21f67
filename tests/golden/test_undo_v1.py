"""A record of a restore in format 1, written once and never again: every later version must read it and mean the same."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from archiver.clock import SystemClock
from archiver.errors import Corrupt, Invalid
from archiver.replay.kubernetes.plan_file import Choices, PlanFile, PlannedObject
from archiver.replay.kubernetes.undo_record import UndoRecord, find_record, put_record
from archiver.store.memory import MemoryStore

FILE = Path(__file__).parent / "undo-v1/record.json"
RUNS = "agentruns.agents.proompteng.ai"
PLAN = PlanFile(
    format="archiver-cluster-plan",
    version=1,
    made=1_790_086_400_000_000,
    by="0.2.0",
    archive="0123456789abcdef0123456789abcdef",
    source="agents",
    at="50123",
    entry=50_120,
    captured="ca=ab uid=11111111-1111-4111-8111-111111111111",
    cluster="ca=ab uid=11111111-1111-4111-8111-111111111111",
    target="kubeconfig:k8s#live",
    choices=Choices(namespaces=["agents"], mode="exact", into_source=True, delete=2, delete_managed=True),
    objects=[
        PlannedObject("create", "create", RUNS, "agents", "run-1", "", "ab" * 32),
        PlannedObject("replace", "update", RUNS, "agents", "run-2", "the target holds it already", "cd" * 32, "u", "17"),
        PlannedObject("delete", "delete", RUNS, "agents", "run-3", "was not there at the point", "", "v", "18"),
    ],
    namespaces=["agents"],
)
RECORD = UndoRecord("archiver-undo", 1, "restore-2026-11-23T10:05:00.000000Z-0123abcd", 50_200, 1_790_086_401_000_000, PLAN)


def test_a_record_is_read_and_written_as_ever() -> None:
    """Every field, byte for byte."""
    assert UndoRecord.read(FILE.read_bytes(), "x") == RECORD
    assert RECORD.write() == FILE.read_bytes()


def test_fields_of_later_versions_are_passed_over_and_other_formats_refused() -> None:
    """What changes the meaning is another version."""
    body = json.loads(FILE.read_bytes())
    assert UndoRecord.read(json.dumps({**body, "later": 1}).encode(), "x") == RECORD
    for other in ({**body, "version": 2}, {**body, "format": "x"}):
        with pytest.raises(Invalid, match="this version reads archiver-undo 1"):
            UndoRecord.read(json.dumps(other).encode(), "x")
    with pytest.raises(Corrupt, match="is no record of a restore"):
        UndoRecord.read(b"[]", "x")


async def test_the_newest_is_found_first_and_each_by_its_mark() -> None:
    """Keys sort backwards by the mark's entry."""
    store = MemoryStore()
    with pytest.raises(Invalid, match="no restore is recorded"):
        await find_record(store, "")
    older = msgspec.structs.replace(RECORD, mark="older", entry=9)
    for each in (older, RECORD):
        await put_record(store, SystemClock(), each)
    assert await store.list("undo/") == ["undo/ffffffffffff3be7.json", "undo/fffffffffffffff6.json"]
    assert (await find_record(store, ""), await find_record(store, "older")) == (RECORD, older)
    with pytest.raises(Invalid, match="no restore with the mark 'other' is recorded"):
        await find_record(store, "other")
