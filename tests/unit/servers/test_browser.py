"""What is said when there is no Chromium and none can be had."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.servers import browser


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'E: no such mirror' >&2; exit 100", "E: no such mirror (exit code 100)"),
        ("echo on stdout; exit 1", "on stdout (exit code 1)"),
        ("exec sleep 60", "it took longer than 0.1 s"),
    ],
)
def test_each_command_that_fails_says_why(
    script: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the words of the command, or that it took too long; and at the end what to do."""
    program = tmp_path / "apt-get"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(browser, "NAMES", ("no-such-browser",))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    if "sleep" in script:
        monkeypatch.setattr(browser, "_SECONDS", 0.1)
    assert browser.main() == 1
    told = capsys.readouterr().err
    assert f"apt-get update failed: {said}" in told
    assert f"apt-get install failed: {said}" in told
    assert told.endswith(f"{browser.MISSING}\n")
