"""Segments kept on this machine's disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from archiver.journal.kept_segments import KeptSegments


def test_what_is_kept_is_found(tmp_path: Path) -> None:
    """In whatever order it came; nothing has a name in the folder."""
    with KeptSegments(tmp_path) as kept:
        for number in (5, 6, 7, 2, 3, 9, 8):
            kept.keep(number, b"%d" % number * 1000)
            kept.keep(number, b"another")
        assert [number for number in range(12) if kept.length(number)] == [2, 3, 5, 6, 7, 8, 9]
        assert all(kept.find(number) == b"%d" % number * 1000 for number in (2, 3, 5, 6, 7, 8, 9))
        assert (kept.find(4), kept.find(10), kept.length(1)) == (None, None, 0)
        assert list(tmp_path.iterdir()) == []
    kept.keep(11, b"late")
    assert (kept.find(5), kept.find(11)) == (None, None)


def test_no_more_than_allowed_is_kept(tmp_path: Path) -> None:
    """What came before the bound stays."""
    with KeptSegments(tmp_path, most_bytes=25) as kept:
        for number in range(4):
            kept.keep(number, b"x" * 10)
        assert [kept.length(number) for number in range(4)] == [10, 10, 0, 0]


def test_by_default_half_of_the_disk_stays_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever else writes there has room left."""
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 30})())
    with KeptSegments(tmp_path) as kept:
        kept.keep(0, b"x" * 10)
        kept.keep(1, b"x" * 10)
        assert (kept.length(0), kept.length(1)) == (10, 0)


def test_a_disk_that_fails_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder, a full disk, one that gives back less than was written: nothing is kept, and nothing is raised."""
    with KeptSegments(tmp_path / "none") as kept:
        kept.keep(0, b"x")
        assert kept.find(0) is None
    with KeptSegments(tmp_path) as kept:
        kept.keep(0, b"x" * 10)
        monkeypatch.setattr(os, "pwrite", _full)
        kept.keep(1, b"x" * 10)
        monkeypatch.undo()
        kept.keep(2, b"x" * 10)
        assert [kept.length(number) for number in range(3)] == [10, 0, 0]
        monkeypatch.setattr(os, "pread", lambda *_: b"short")
        assert kept.find(0) is None
        monkeypatch.setattr(os, "pread", _full)
        assert kept.find(0) is None


def _full(*_: object) -> int:
    raise OSError(28, "No space left on device")
