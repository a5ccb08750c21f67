"""Which tables a source is about."""

from __future__ import annotations

import pytest

from archiver.capture.postgres.catalog.scope import Scope
from archiver.capture.postgres.preflight.findings import several


@pytest.mark.parametrize(
    ("schema", "name", "covered"),
    [
        ("public", "t", True),
        ("pg_catalog", "t", False),
        ("pg_temp_3", "t", False),
        ("information_schema", "t", False),
        ("archiver", "t", True),
        ("public", "log_2024", False),
        ("public", "log.2024", True),
        ("Audit", "Log", False),
        ("audit", "Log", True),
    ],
)
def test_everything_but_the_systems_and_the_excluded(schema: str, name: str, covered: bool) -> None:
    """A star stands for anything but a dot; case matters, as in the catalog."""
    assert Scope(exclude_tables=["public.log_*", "Audit.*"]).covers(schema, name) is covered


def test_only_the_named_schemas() -> None:
    """With ``schemas``, nothing else is captured."""
    scope = Scope(["app", "archiver"])
    assert (scope.covers("app", "t"), scope.covers("public", "t"), scope.covers("archiver", "t")) == (True, False, True)


def test_findings_name_a_few_of_many() -> None:
    """One thing is named; of many the first five."""
    assert several("table", ["a.b"]) == "table a.b"
    assert several("table", [f"a.{n}" for n in range(7)]) == "7 tables (a.0, a.1, a.2, a.3, a.4, …)"
