"""Errors of files, told by what to do about them."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from archiver import disk
from archiver.errors import Invalid, Unavailable


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG, errno.EMFILE])
def test_a_full_or_failing_disk_can_be_tried_again(number: int) -> None:
    """It is Unavailable, names the place, and says what to do."""
    with pytest.raises(Unavailable) as raised, disk.errors("write rows", Path("/out")):
        raise OSError(number, "text")
    assert raised.value.message == "/out: cannot write rows: text"
    assert raised.value.hint


def test_a_place_that_may_not_be_used_is_wrong(tmp_path: Path) -> None:
    """Another user's folder, or a file in place of a folder: the file that the system names is told."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Invalid, match=r"file/inside: cannot write: Not a directory"), disk.errors("write"):
        (tmp_path / "file" / "inside").open("w")


@pytest.mark.parametrize("error", [ConnectionResetError(errno.ECONNRESET, "reset"), TimeoutError(), OSError("no number")])
def test_errors_of_connections_pass(error: OSError) -> None:
    """What is not about files goes on as it is."""
    with pytest.raises(type(error)), disk.errors("write"):
        raise error
