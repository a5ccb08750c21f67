"""Which tables may be published for UPDATE: never one whose UPDATE the server would then refuse."""

from __future__ import annotations

from typing import Any

import pytest

from archiver.capture.postgres.catalog.capture_mode import CaptureMode, choose_mode
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
        ({}, CaptureMode("key", [1], "")),
        ({"identity": "i", "index_key": [1]}, CaptureMode("key", [1], "")),
        ({"index_key": None}, CaptureMode("insert", [], "no_identity")),
        ({"identity": "i", "index_key": None}, CaptureMode("insert", [], "identity_index_lost")),
        ({"identity": "n"}, CaptureMode("insert", [], "identity_nothing")),
        ({"identity": "f", "index_key": None}, CaptureMode("full", [], "")),
        ({"identity": "f", "columns": [PLAIN, GENERATED]}, CaptureMode("full", [], "")),
        ({"identity": "f", "columns": [PLAIN, GENERATED], "server_version": 180004}, CaptureMode("insert", [], "generated_in_identity")),
        ({"columns": [PLAIN, GENERATED], "server_version": 180004}, CaptureMode("key", [1], "")),
        ({"index_key": [1, 2], "columns": [PLAIN, GENERATED]}, CaptureMode("insert", [], "generated_in_identity")),
        ({"persistence": "u"}, CaptureMode("excluded", [], "unlogged")),
        ({"kind": "p"}, CaptureMode("excluded", [], "partitioned")),
        ({"covered": False, "kind": "p"}, CaptureMode("excluded", [], "out_of_scope")),
    ],
)
def test_mode_follows_from_what_the_server_can_identify(facts: dict[str, Any], expected: CaptureMode) -> None:
    """A usable identity gives key or full; everything else is inserts only, or not captured, with the cause."""
    assert choose_mode(**{**TABLE, **facts}) == expected
