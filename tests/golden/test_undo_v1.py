"""A record of a restore in format 1, written once and never again: every later version must read it and mean the same."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from archiver.errors import Corrupt, Invalid
from archiver.replay.kubernetes.plan_file import Choices, PlanFile, PlannedObject
from archiver.replay.kubernetes.undo_record import UndoRecord, record_digest

FILE = Path(__file__).parent / "undo-v1/record.json"
UNDO_FILE = FILE.with_name("undo.json")
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


def test_a_record_of_an_undo_says_what_it_undoes_and_a_mark_ends_with_the_digest() -> None:
    """Of everything but the mark, its entry and its time, whatever fields a later version adds and however it is laid out."""
    undo = msgspec.structs.replace(RECORD, mark="undo", entry=50_300, undoes=RECORD.mark)
    assert undo.write() == UNDO_FILE.read_bytes()
    assert UndoRecord.read(UNDO_FILE.read_bytes(), "x") == undo
    body = json.loads(UNDO_FILE.read_bytes())
    assert record_digest(FILE.read_bytes(), "x") == "ac870b46417fa9c519b0ed8d8929faab"
    assert record_digest(UNDO_FILE.read_bytes(), "x") == "bacde5934d7ac3fc0cb412d3a72a3fde"
    other = {"later": 1, **{key: body[key] for key in reversed(body)}, "mark": "other", "entry": 1, "time": 2}
    assert (
        record_digest(json.dumps({key: value for key, value in other.items() if key != "later"}).encode(), "x")
        == "bacde5934d7ac3fc0cb412d3a72a3fde"
    )
    assert record_digest(json.dumps(other).encode(), "x") != "bacde5934d7ac3fc0cb412d3a72a3fde"
    with pytest.raises(Corrupt, match="is no record of a restore"):
        record_digest(b"[]", "x")
