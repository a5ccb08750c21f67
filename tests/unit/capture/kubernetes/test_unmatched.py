"""Lines of ``resources`` that select nothing."""

from __future__ import annotations

from archiver.capture.kubernetes.discovery import Discovery, unmatched
from archiver.kubernetes.records import Resource

RUNS = Resource("agents.example.com", "v1", "runs", "Run", namespaced=True)
LINES = ["*.example.com", "runs.agents.example.com", "rnus.agents.example.com", "*.exmaple.com", "pods"]


def test_lines_without_any_served_resource_are_named() -> None:
    """The pattern, the kind and the group that are spelt right select something."""
    assert unmatched(LINES, Discovery([RUNS], frozenset())) == ["rnus.agents.example.com", "*.exmaple.com", "pods"]


def test_a_group_that_did_not_answer_may_have_it() -> None:
    """Nothing is known of its resources this time."""
    assert unmatched(LINES, Discovery([RUNS], frozenset({"agents.example.com"}))) == ["*.exmaple.com", "pods"]
    assert unmatched(["pods"], Discovery([], frozenset({""}))) == []
