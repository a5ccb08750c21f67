"""The file of what a restore left out, where the disk does not take it."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

from archiver.errors import Unavailable
from archiver.postgres.records import Table
from archiver.replay.postgres.plan.plan import LeftOutItem
from archiver.replay.postgres.write.left_out_file import LeftOutFile

_ITEM = LeftOutItem("rows of s.t", "they are refused", "", 1)


def test_half_a_file_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full: that is said with the place, and nothing is left that would be taken for all."""
    file = LeftOutFile(tmp_path, "db")
    file.rows(Table(1, "s", "t", "r", "p", "d", 1, "key", [], [1]), ["a"]).write(b"1\n")

    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfileobj", full)
        with pytest.raises(Unavailable, match="No space left") as raised:
            file.write("db", [], [_ITEM], [])
    assert str(tmp_path) in raised.value.message
    assert "--left-out" in raised.value.hint
    assert list(tmp_path.iterdir()) == []
    written = Path(file.write("db", [], [_ITEM], []))
    assert b"FROM stdin;\n1\n\\.\n" in written.read_bytes()
    file.close()
