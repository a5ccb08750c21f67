"""Tables that may have thousands of rows."""

from __future__ import annotations

import pytest

from archiver.cli.first_rows import SHOWN, print_first


def test_what_is_not_shown_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """How many there are, and how to see them; nothing is said where all are there."""
    rows = [(f"row{number}", "x") for number in range(SHOWN + 1)]
    print_first(["name", "what"], rows[:SHOWN], "objects", show_all=False)
    assert len(capsys.readouterr().out.splitlines()) == SHOWN + 1
    print_first(["name", "what"], rows, "objects", show_all=False)
    assert capsys.readouterr().out.splitlines()[-1] == f"the first {SHOWN} of {SHOWN + 1} objects: --show-all and --json have all"
    print_first(["name", "what"], rows, "objects", show_all=True)
    assert f"row{SHOWN}" in capsys.readouterr().out.splitlines()[-1]
