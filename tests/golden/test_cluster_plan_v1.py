"""A plan file in format 1, written once and never again: every later version must read it and mean the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from archiver.errors import Invalid
from archiver.replay.kubernetes.plan_file import Choices, PlanFile, PlannedObject

FILE = Path(__file__).parent / "cluster-plan-v1/plan.json"
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
    cluster="ca=cd uid=22222222-2222-4222-8222-222222222222",
    target="kubeconfig:k8s#live",
    choices=Choices(
        kinds=["agentruns"],
        namespaces=["agents"],
        objects=[f"{RUNS}/agents/run-1", "zones.example.org/z"],
        labels="team=x",
        moves={"agents": "agents-restored"},
        mode="exact",
        strict=False,
        into_source=True,
        allow_controllers=False,
        allow_gaps=True,
        leases=["agents/leader"],
    ),
    objects=[
        PlannedObject(
            "create", "create", RUNS, "agents-restored", "run-1", "", "ab" * 32, "", "", ["33333333-3333-4333-8333-333333333333", ""]
        ),
        PlannedObject("replace", "status only", RUNS, "agents-restored", "run-2", "the target holds it already", "cd" * 32, "u", "17"),
        PlannedObject("skip", "skipped", RUNS, "agents-restored", "run-3", "was being deleted"),
    ],
    namespaces=["agents-restored"],
)


def test_a_plan_is_read_and_written_as_ever() -> None:
    """Every field, byte for byte; the choices mean the same scope."""
    assert PlanFile.read(FILE.read_bytes(), "plan.json") == PLAN
    assert PLAN.write() == FILE.read_bytes()
    scope = PLAN.choices.scope
    assert scope.objects == {(RUNS, "agents", "run-1"), ("zones.example.org", "", "z")}
    assert Choices.of(scope, mode="exact", into_source=True, allow_gaps=True, leases=["agents/leader"]) == PLAN.choices


def test_fields_of_later_versions_are_passed_over_and_other_formats_refused() -> None:
    """What changes the meaning is another version."""
    body = json.loads(FILE.read_bytes())
    assert PlanFile.read(json.dumps({**body, "later": 1}).encode(), "p") == PLAN
    for other in ({**body, "version": 2}, {**body, "format": "x"}):
        with pytest.raises(Invalid, match="this version reads archiver-cluster-plan 1"):
            PlanFile.read(json.dumps(other).encode(), "p")
    for text in (b"", b"[]", b'{"format": "archiver-cluster-plan"}'):
        with pytest.raises(Invalid, match="p is no plan file"):
            PlanFile.read(text, "p")
