"""The folder that a drill restores into, marked and locked while the drill is at work.

Not there or empty -> marked, locked -> removed. A drill that is killed leaves it marked and no longer locked: the next one takes that away,
because it holds what was captured. What has no mark is somebody else's, and is left alone.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from pathlib import Path

from archiver import disk
from archiver.errors import Invalid, Unavailable

PREFIX = "archiver-drill-"
"""How temporary folders of drills begin."""
_MARK = ".archiver-drill"


class ScratchFolder:
    """Methods block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1

    def take(self) -> bool:
        """Make, mark and lock it; whether a killed drill had left something in it, which is gone then.

        Raises ``Invalid`` for a folder in which something else stands or another drill is at work, else as ``disk.explained``.
        """
        with disk.errors("make a scratch folder", self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            found = {each.name for each in self.path.iterdir()}
            if found and _MARK not in found:
                raise Invalid(f"scratch folder {self.path} is not empty", hint="name a folder that the drill may remove")
            if not self._locked(new=not found):
                raise Invalid(f"another drill is at work in {self.path}", hint="name another folder, or wait until it has ended")
            self._clear()
        return bool(found)

    def _clear(self) -> None:
        """Remove all but the mark."""
        for each in self.path.iterdir():
            if each.name != _MARK:
                shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()

    def _locked(self, *, new: bool) -> bool:
        """``new``: no mark was there, so that one which cannot be locked is ours."""
        mark = self.path / _MARK
        lock = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever removed the folder meanwhile removed the mark that was opened.
            held = os.path.samestat(os.fstat(lock), mark.stat())
        except BlockingIOError:
            held = False
        except OSError as error:
            # Some network file systems have no locks.
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                os.close(lock)
                raise
            held = new
        except BaseException:
            os.close(lock)
            raise
        if held:
            self._lock = lock
        else:
            os.close(lock)
        return held

    def remove(self) -> None:
        """Remove it with all that is in it. ``Unavailable`` when it cannot be removed."""
        try:
            # The mark goes last: whoever is killed before that leaves a folder that the next drill takes away.
            self._clear()
            (self.path / _MARK).unlink()
            self.path.rmdir()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise Unavailable(f"scratch folder {self.path} cannot be removed: {error.strerror}", hint="remove it by hand") from None
        finally:
            if self._lock >= 0:
                os.close(self._lock)
                self._lock = -1


def remove_abandoned(place: Path) -> list[str]:
    """Remove the temporary folders in ``place`` that drills of this user, killed, have left. Their names."""
    removed = []
    for path in sorted(place.glob(f"{PREFIX}*")):
        # A shared folder: others may have put there what looks like ours.
        with contextlib.suppress(OSError, Invalid, Unavailable):
            if path.is_symlink() or path.stat().st_uid != os.geteuid() or not (path / _MARK).is_file():
                continue
            folder = ScratchFolder(path)
            folder.take()
            folder.remove()
            removed.append(path.name)
    return removed
