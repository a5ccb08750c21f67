"""What does not fit into memory, in a file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from archiver.errors import Unavailable
from archiver.replay.postgres.write.spill_file import SpillFile


def test_what_was_put_aside_is_taken_again(tmp_path: Path) -> None:
    """From any place within, as often as wanted; another one is apart; nothing has a name in the folder."""
    spill = SpillFile(tmp_path)
    first, second = spill.put(b"one"), spill.put(memoryview(b"twenty"))
    other = spill.another()
    place = other.put(b"elsewhere")
    assert [spill.take(second, 6), spill.take(first, 3), spill.take(second + 2, 3), spill.take(second, 0)] == [
        b"twenty",
        b"one",
        b"ent",
        b"",
    ]
    assert other.take(place, 9) == b"elsewhere"
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_says_where_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the rows is in the message."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    spill = SpillFile(tmp_path)
    place = spill.put(b"secret")
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(Unavailable, match="TMPDIR") as raised:
        spill.put(b"secret")
    assert str(tmp_path) in raised.value.message
    assert "secret" not in str(raised.value)
    with pytest.raises(Unavailable, match="is gone"):
        spill.take(place, 7)


def test_no_temporary_folder_at_all_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system that is read-only everywhere."""

    def nowhere() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    with pytest.raises(Unavailable, match="TMPDIR"):
        SpillFile().put(b"row")
