"""Which tables may be published for UPDATE: never one whose UPDATE the server would then refuse."""

from __future__ import annotations

from typing import Any

import pytest

from archiver.capture.postgres.catalog.capture_mode import Decision, decide
from archiver.postgres.records import Column

PLAIN = Column(1, "a", "integer", 23)
GENERATED = Column(2, "g", "integer", 23, generated="s")
TABLE: dict[str, Any] = {
    "kind": "r",
    "persistence": "p",
    "identity": "d",
    "index_key": [1],
    "columns": [PLAIN],
    "covered": True,
    "server_version": 160000,
}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, Decision("key", [1], "")),
        ({"identity": "i", "index_key": [1]}, Decision("key", [1], "")),
        ({"index_key": None}, Decision("insert", [], "no_identity")),
        ({"identity": "i", "index_key": None}, Decision("insert", [], "identity_index_lost")),
        ({"identity": "n"}, Decision("insert", [], "identity_nothing")),
        ({"identity": "f", "index_key": None}, Decision("full", [], "")),
        ({"identity": "f", "columns": [PLAIN, GENERATED]}, Decision("full", [], "")),
        ({"identity": "f", "columns": [PLAIN, GENERATED], "server_version": 180004}, Decision("insert", [], "generated_in_identity")),
        ({"columns": [PLAIN, GENERATED], "server_version": 180004}, Decision("key", [1], "")),
        ({"index_key": [1, 2], "columns": [PLAIN, GENERATED]}, Decision("insert", [], "generated_in_identity")),
        ({"persistence": "u"}, Decision("excluded", [], "unlogged")),
        ({"kind": "p"}, Decision("excluded", [], "partitioned")),
        ({"covered": False, "kind": "p"}, Decision("excluded", [], "out_of_scope")),
    ],
)
def test_mode_follows_from_what_the_server_can_identify(facts: dict[str, Any], expected: Decision) -> None:
    """A usable identity gives key or full; everything else is inserts only, or not captured, with the cause."""
    assert decide(**{**TABLE, **facts}) == expected
