"""What the operating system says of files, as an error that tells what to do."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from archiver.errors import ArchiverError, Invalid, Unavailable

GOES_ON = "a running archiver goes on by itself, a command is started again"
"""What follows once there is room in the archive."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_BROKEN = frozenset({errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ESTALE})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})
_SHAPE = frozenset({errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP})
_HINTS = {
    errno.ENOSPC: "free space there",
    errno.EDQUOT: "raise the quota or free space there",
    errno.EFBIG: "the file system or ulimit -f does not allow larger files there",
    errno.EIO: "the disk or its driver failed: look at the kernel log",
    errno.EROFS: "the file system is mounted read-only: look at the kernel log, mount it writable",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "the machine has no more files to open",
}


def full_or_broken(error: OSError) -> bool:
    """Whether a disk or a limit of the machine is the cause, wherever in the program it shows."""
    return error.errno in _FULL | _BROKEN


def about_files(error: OSError) -> bool:
    """Whether the error is one of files: a connection's or a deadline's is not."""
    return full_or_broken(error) or error.errno in _FORBIDDEN | _SHAPE | {errno.ENOENT}


def explained(
    error: OSError, doing: str, place: Path | str = "", *, after: str = "", other_place: str = "name another place"
) -> ArchiverError:
    """``Invalid`` for a place that cannot be meant or may not be used, ``Unavailable`` for a full or failing disk.

    ``doing`` completes "cannot …". ``place`` defaults to the file that the error names. ``after`` says how it goes on once there is room,
    ``other_place`` what to do about a place of the wrong kind.
    """
    where = place or (error.filename if isinstance(error.filename, str) else "")
    message = f"{f'{where}: ' if where else ''}cannot {doing}: {error.strerror or type(error).__name__}"
    if error.errno in _FORBIDDEN:
        return Invalid(message, hint="give the archiver's user the right to read and write there")
    if error.errno in _SHAPE:
        return Invalid(message, hint=other_place)
    hint = _HINTS.get(error.errno or 0, "check the disk and its mount")
    return Unavailable(message, hint=f"{hint}; {after}" if after and error.errno in _FULL else hint)


def temporary_folder() -> str:
    """Where temporary files go, which need not be where TMPDIR says: one that is full is passed over. Empty when there is no such place."""
    try:
        return tempfile.gettempdir()
    except OSError:
        return os.environ.get("TMPDIR", "")


@contextlib.contextmanager
def errors(doing: str, place: Path | str = "", *, after: str = "") -> Iterator[None]:
    """Within it an error of files is raised as ``explained`` has it."""
    try:
        yield
    except OSError as error:
        if not about_files(error):
            raise
        raise explained(error, doing, place, after=after) from error
