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


def test_one_line_each_gives_way_at_the_first_column(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """At 80 columns the widest cells that there are stand whole, and a long name is cut; in a pipe nothing is."""
    columns = ["source", "state", "age", "lag", "gaps", "from (UTC)", "drill"]
    rows = [
        ["a-database-of-a-team", "streaming", "1.2 s", "12 B", "none", "2026-11-23 10:05", "3 d ok"],
        ["a-cluster-with-a-name-of-sixty-letters-that-nobody-would-type-twice", "baseline", "119 min", "-", "12", "not yet", "never"],
    ]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    output.one_line_each(columns, rows)
    lines = capsys.readouterr().out.splitlines()
    assert [len(lines), max(map(len, lines)) <= 80] == [3, True]
    assert lines[1].split("  ")[0] == rows[0][0]
    assert "…" in lines[2]
    assert all(cell in lines[2] for cell in rows[1][1:])
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    output.one_line_each(columns, rows)
    assert rows[1][0] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.26, "0.3 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7200, "2 h"),
        (259_199, "72 h"),
        (259_200, "3 d"),
        (86_400_000, "1000 d"),
    ],
)
def test_an_age_has_one_unit(seconds: float | None, text: str) -> None:
    """The largest one of which there are several."""
    assert output.age(seconds) == text


LINES = [(7, "2026-11-23T10:05:00.000000Z", "0/15D5A78", "INSERT", "id, name, everything that was ever said of it")]


def test_a_table_cuts_no_word_in_two(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Text is folded; where that makes no room for times and numbers, each row stands below the one before."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    for width in (200, 85, 80, 50):
        monkeypatch.setenv("COLUMNS", str(width))
        output.table("changes", ["entry", "committed", "LSN", "what", "changed"], LINES)
        shown = capsys.readouterr().out
        assert max(map(len, shown.splitlines())) <= width
        words = shown.split()
        assert all(str(cell) in words for cell in LINES[0][:4]), shown
        assert ("entry 7\n" in shown) is (width < 80), shown
        assert " ".join(words).replace(",", "").endswith("said of it")


def test_a_word_without_room_stays_one(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain head is copied from the terminal into the next command."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    head = f"1234:{'ab' * 50}"
    output.facts([("chain head", head), ("strays", "one, " * 40), ("empty", "")])
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == f"chain head  {head}"
    assert max(map(len, rest)) <= 80
    assert " ".join(rest).split() == ["strays", *["one,"] * 40, "empty", "-"]


def test_what_a_program_reads_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe would not see that something is missing; a person does, and can ask for all."""
    assert output.is_whole(show_all=False)
    monkeypatch.setattr(output, "terminal_width", lambda: 80)
    assert not output.is_whole(show_all=False)
    assert output.is_whole(show_all=True)
