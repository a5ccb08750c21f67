"""The folder of a drill: whose it is, and what becomes of one that a killed drill left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from archiver.errors import Invalid
from archiver.scratch_folder import PREFIX, ScratchFolder, remove_abandoned

_KILLED = """
import os, signal, sys
from pathlib import Path
from archiver.scratch_folder import ScratchFolder
folder = Path(sys.argv[1])
taken = ScratchFolder(folder)
taken.take()
(folder / "db/rows").mkdir(parents=True)
(folder / "db/rows/public.note.sql").write_text("1")
(folder / "file").write_text("1")
os.kill(os.getpid(), signal.SIGKILL)
"""


def leave(folder: Path) -> None:
    """As a drill that was killed leaves it."""
    done = subprocess.run([sys.executable, "-c", _KILLED, str(folder)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (folder / "db/rows/public.note.sql").exists()


def test_the_next_drill_takes_what_a_killed_one_left(tmp_path: Path) -> None:
    """Its rows are gone before anything is restored; what has no mark, or another drill at work, is left alone."""
    folder = tmp_path / "scratch"
    leave(folder)
    mine = ScratchFolder(folder)
    assert mine.take()
    assert [each.name for each in folder.iterdir()] == [".archiver-drill"]
    with pytest.raises(Invalid, match="another drill is at work"):
        ScratchFolder(folder).take()
    mine.remove()
    assert not folder.exists()
    assert not mine.take()
    mine.remove()

    users = tmp_path / "users"
    users.mkdir()
    (users / "file").write_text("x")
    with pytest.raises(Invalid, match="not empty"):
        ScratchFolder(users).take()
    assert (users / "file").read_text() == "x"


def test_temporary_folders_of_killed_drills_go(tmp_path: Path) -> None:
    """Those of drills at work stay, and so does what only looks like one."""
    leave(tmp_path / f"{PREFIX}killed")
    working = ScratchFolder(tmp_path / f"{PREFIX}working")
    working.take()
    (tmp_path / f"{PREFIX}strange").mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / f"{PREFIX}working")
    assert remove_abandoned(tmp_path) == [f"{PREFIX}killed"]
    assert {each.name for each in tmp_path.iterdir()} == {f"{PREFIX}{name}" for name in ("working", "strange", "link")}
    working.remove()


class _Killed(BaseException):
    """Nothing after it runs."""


@pytest.mark.parametrize("steps", range(20))
def test_a_drill_that_is_killed_while_it_cleans_up_is_cleaned_up_after(steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After any number of removals the next drill knows the folder for one of a drill: its mark goes when nothing else is left."""
    folder = tmp_path / f"{PREFIX}killed"
    mine = ScratchFolder(folder)
    mine.take()
    for name in ("db/rows", "zz"):
        (folder / name).mkdir(parents=True)
        (folder / name / "a.sql").write_text("1")
    for name in "0123456789":
        (folder / name).write_text("1")
    # File systems list by hash, or first what was put there last: whichever it is, the mark is not the last.
    (folder / ".archiver-drill").rename(tmp_path / "mark")
    (tmp_path / "mark").rename(folder / ".archiver-drill")
    left = steps
    unlink, rmdir = os.unlink, os.rmdir

    def counted(removing: Callable[..., None]) -> Callable[..., None]:
        def remove(*where: object, **options: object) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise _Killed
            removing(*where, **options)

        return remove

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", counted(unlink))
        patched.setattr(os, "rmdir", counted(rmdir))
        with contextlib.suppress(_Killed):
            mine.remove()
    if folder.exists() and any(folder.iterdir()):
        assert remove_abandoned(tmp_path) == [folder.name]
    else:
        assert not ScratchFolder(folder).take()
