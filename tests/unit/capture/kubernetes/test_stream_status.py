"""A cluster's status from its streams."""

from __future__ import annotations

from archiver.capture.kubernetes.stream_status import StreamFigures, whole


def test_a_source_is_what_its_least_advanced_stream_is() -> None:
    """And says which one has a problem; figures are added up."""
    good = StreamFigures("kube/g/a", phase="watching", events=3, bytes=30, heard=50, listed=10)
    bad = StreamFigures("kube/g/b", phase="denied", problem="403", events=1, bytes=10, heard=20, listed=5)
    bad.restarts["denied"] += 2
    shown = whole("kube", [good.show("7"), bad.show("8")], [])
    assert (shown.state, shown.detail) == ("failed", "kube/g/b: 403")
    assert (shown.frames, shown.bytes, shown.restarts) == (4, 40, {"denied": 2})
    assert (shown.observed, shown.newest_change, shown.last_baseline) == (20, 50, 5)


def test_what_ended_does_not_hold_the_source_back() -> None:
    """Without any stream there is nothing to wait for."""
    ended = StreamFigures("kube/g/a", phase="ended", events=3)
    assert whole("kube", [ended.show(""), StreamFigures("kube/g/b", phase="watching").show("")], []).state == "streaming"
    assert whole("kube", [], []).state == "streaming"


def test_a_missing_right_is_tolerated_unless_it_shall_count() -> None:
    """Other failures never are."""
    assert StreamFigures("s", phase="denied").show("").tolerated
    assert not StreamFigures("s", phase="denied", strict=True).show("").tolerated
    assert not StreamFigures("s", phase="failing").show("").tolerated
