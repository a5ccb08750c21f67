"""Tables for people, as wide as their terminal."""

from __future__ import annotations

import re
import sys

import pytest

from archiver.cli import output

COLUMNS = ["source", "state", "newest change", "problem"]
ROWS = [("one", "streaming", "2026-11-23T10:05:00.000000Z", "-"), ("two", "stopped", "-", "nobody reads slot archiver_two")]


def printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int) -> str:
    """What is shown at a terminal of this width."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    output.records(COLUMNS, ROWS)
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)


def test_records_are_a_table_where_there_is_room(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One line each, and one for the columns."""
    lines = printed(capsys, monkeypatch, 100).splitlines()
    assert [line.split()[0] for line in lines] == ["source", "one", "two"]


def test_records_stand_one_by_one_where_there_is_none(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """No time is cut in two, and what says nothing is left out."""
    shown = printed(capsys, monkeypatch, 60)
    assert "newest change  2026-11-23T10:05:00.000000Z\n" in shown
    assert "problem  nobody reads slot archiver_two\n" in shown
    assert max(map(len, shown.splitlines())) <= 60
    assert [line for line in shown.splitlines() if line in ("one", "two")] == ["one", "two"]


def test_no_colour_leaves_no_escape(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`NO_COLOR` takes colours and bold from tables, headings, messages and the log, also at a terminal."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm-256color")
    for value, plain in (("", False), ("1", True)):
        monkeypatch.setenv("NO_COLOR", value)
        output.records(COLUMNS, ROWS)
        output.facts([("name", "value")])
        output.heading("one")
        output.say("error", style="red")
        shown = capsys.readouterr()
        assert ("\x1b" not in shown.out) is plain
        assert ("\x1b" not in shown.err) is plain
