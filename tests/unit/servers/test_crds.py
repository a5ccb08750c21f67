"""The definitions that tests install."""

from __future__ import annotations

from typing import Any

from tests.servers.crds import definitions


def test_a_test_that_changes_its_definitions_changes_nobody_elses() -> None:
    """Tests make definitions of another time out of these; the next test in the same process gets them whole."""

    def properties(each: dict[str, Any], part: str) -> dict[str, Any]:
        found: dict[str, Any] = each["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part]["properties"]
        return found

    changed, beside = definitions()[:2]
    properties(changed, "spec").clear()
    properties(changed, "status").clear()
    assert all(properties(each, part) for each in (beside, *definitions()) for part in ("spec", "status"))
