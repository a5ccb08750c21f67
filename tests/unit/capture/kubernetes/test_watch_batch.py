"""What lines of a watch say together."""

from __future__ import annotations

import json

import pytest

from archiver.capture.kubernetes.watch_batch import WatchBatch


def line(kind: str, version: str, name: str = "a") -> bytes:
    return json.dumps({"type": kind, "object": {"metadata": {"name": name, "uid": f"u-{name}", "resourceVersion": version}}}).encode()


def test_events_keep_their_bytes_and_move_the_watch() -> None:
    """Each event stands beside the line that brought it, verbatim."""
    lines = [line("ADDED", "5"), line("MODIFIED", "6"), line("DELETED", "7")]
    batch = WatchBatch.of(lines)
    assert batch.lines == lines
    assert [(event.type, event.object.metadata.resource_version) for event in batch.events] == [
        ("ADDED", "5"),
        ("MODIFIED", "6"),
        ("DELETED", "7"),
    ]
    assert (batch.version, batch.bookmark, batch.failure) == ("7", False, None)


def test_a_bookmark_moves_the_watch_and_is_no_event() -> None:
    """Nothing of it is captured."""
    batch = WatchBatch.of([line("BOOKMARK", "9")])
    assert (batch.events, batch.lines, batch.version, batch.bookmark) == ([], [], "9", True)


def test_what_is_not_captured_moves_the_watch_all_the_same() -> None:
    """It happened, and the watch goes on behind it."""
    batch = WatchBatch.of([line("ADDED", "5", "kept"), line("ADDED", "6", "other")], lambda name: name == "kept")
    assert [event.object.metadata.name for event in batch.events] == ["kept"]
    assert batch.version == "6"


def test_an_error_ends_the_batch_where_it_stands() -> None:
    """What came before counts, what follows does not."""
    expired = json.dumps({"type": "ERROR", "object": {"code": 410, "reason": "Expired"}}).encode()
    batch = WatchBatch.of([line("ADDED", "5"), expired, line("ADDED", "6")])
    assert (len(batch.events), batch.version) == (1, "5")
    assert batch.failure is not None
    assert batch.failure.kind == "expired"


@pytest.mark.parametrize("foreign", [b"no json", line("SOMETHING", "6")])
def test_what_is_no_watch_line_is_a_failure(foreign: bytes) -> None:
    """A proxy's page or a kind of event that we do not know: nothing behind it is believed."""
    batch = WatchBatch.of([line("ADDED", "5"), foreign, line("ADDED", "7")])
    assert (batch.version, batch.failure is not None and batch.failure.kind) == ("5", "unavailable")
