"""How a database's capture is shown."""

from __future__ import annotations

from archiver.capture.postgres.figures import SourceFigures
from archiver.capture.postgres.session.slot_health import SlotHealth
from archiver.errors import Refused, Unavailable
from archiver.journal.entry import Kind, Run, SourceMark


def test_failures_are_counted_by_kind_and_the_newest_is_told() -> None:
    """The state stays failed until the next attempt."""
    figures = SourceFigures()
    figures.failed(Unavailable("down"))
    figures.failed(Unavailable("down again"))
    figures.failed(Refused("no right"))
    shown = figures.show("db", SourceMark(), None, None)
    assert (shown.state, shown.detail, shown.restarts) == ("failed", "no right", {"unavailable": 2, "refused": 1})


def test_lag_is_what_the_log_has_beyond_the_journal() -> None:
    """Not known before the slot was looked at, and never negative."""
    figures = SourceFigures()
    assert figures.show("db", SourceMark(position="0/10"), None, None).lag_bytes is None
    figures.health = SlotHealth(position=0x30)
    assert figures.show("db", SourceMark(position="0/10"), None, None).lag_bytes == 0x20
    assert figures.show("db", SourceMark(position="0/40"), None, None).lag_bytes == 0


def test_what_the_stream_brought_is_counted() -> None:
    """Frames and their bytes."""
    figures = SourceFigures()
    figures.received(Run.of("db", Kind.PG_FRAMES, [b"ab", b"c"], observed=1))
    shown = figures.show("db", SourceMark(), None, None)
    assert (shown.frames, shown.bytes) == (2, 3)
