"""Where the rig keeps what it builds or copies once, and what its servers write."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


def cache() -> Path:
    """The caller's own cache folder: $ARCHIVER_CACHE, else ``archiver`` in the user's cache folder."""
    chosen = os.environ.get("ARCHIVER_CACHE")
    base = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "archiver"
    base.mkdir(parents=True, exist_ok=True)
    return base


def shared_cache() -> Path:
    """A cache folder that only we write and every user can read: servers that refuse root run from there."""
    folder = Path("/var/tmp") / f"archiver-{os.getuid()}"
    folder.mkdir(mode=0o755, exist_ok=True)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise RuntimeError(f"{folder} is not ours alone; remove it")
    folder.chmod(0o755)
    return folder


def scratch(prefix: str, *, owner: tuple[int, int] | None = None) -> Path:
    """A new empty folder with a short path (Unix sockets have 107 bytes), for ``owner`` (uid, gid) alone.

    Not in $TMPDIR for another owner: that may lie in a folder which only we can enter.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir="/tmp" if owner else None))
    if owner:
        os.chown(folder, *owner)
    return folder


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold ``path`` as a lock among processes; waits for whoever holds it, and a dead holder holds nothing."""
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
