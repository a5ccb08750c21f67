"""A local directory as a store: one file an object, created by hard link.

``link`` is the one call of POSIX that creates a name with its whole content and fails when the name is taken; ``rename`` would replace it.
The order that makes an object durable is temp file, fsync, link, fsync of the directory. Network file systems are as good as their
``link`` and ``fsync``; the start-up probe tells about the first only.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import stat
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

from archiver import disk
from archiver.errors import Refused, Unavailable
from archiver.store.keys import checked, checked_prefix
from archiver.store.patience import FREE_BYTES, Patience

_T = TypeVar("_T")

_THREADS = 8
_STALE_SECONDS = 3600
_TRIES = 20
"""Times that a folder is made again which others take away."""
_DEEPEST = 50
"""Folders in one another that are looked into."""
_SCRATCH = "~tmp"
"""Holds files that have no name yet. ``~`` is not allowed in keys."""

_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class DirectoryStore:
    """A ``Store`` under ``root``, an absolute path. Files are readable by their owner only: they hold the sources' data.

    Nothing is touched before the first put, which creates ``root`` where it does not exist and raises ``Refused`` on a file system without
    hard links; so an archive on a read-only mount can be read. A call that is cancelled or passes its deadline goes on in its thread; a put
    may still land.
    """

    def __init__(self, root: Path, *, deadline_seconds: float = 30.0) -> None:
        self._root = root
        self._scratch = root / _SCRATCH
        self._deadline = deadline_seconds
        self._patience = Patience()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="directory-store")
        self._names = itertools.count()
        self._unique = uuid.uuid4().hex
        self._lock = threading.RLock()
        self._durable: set[Path] = set()
        self._failed_sync = ""
        self._prepared = False

    @property
    def url(self) -> str:
        return self._root.as_uri()

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        path = self._path(key)
        return await self._run("create", key, lambda: self._create(path, data), size=len(data))

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        path = self._path(key)
        return await self._run("read", key, lambda: _read(path, start, length), size=FREE_BYTES if length is None else length)

    async def size(self, key: str) -> int | None:
        path = self._path(key)
        return await self._run("look at", key, lambda: _size(path))

    async def list(self, prefix: str, after: str = "", limit: int | None = None) -> list[str]:
        folder = checked_prefix(prefix).rpartition("/")[0]
        top, base = (self._root / folder, folder + "/") if folder else (self._root, "")
        return await self._run("list", prefix, lambda: list(itertools.islice(_walk(top, base, prefix, after), limit)))

    async def delete(self, key: str) -> None:
        path = self._path(key)
        await self._run("delete", key, lambda: self._delete(path))

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _path(self, key: str) -> Path:
        return self._root / checked(key)

    async def _run(self, verb: str, key: str, action: Callable[[], _T], *, size: int = 0) -> _T:
        """``action`` in a thread, within the time that ``size`` bytes may take."""
        where = self._root / key if key else self._root
        within = self._patience.seconds(self._deadline, size)
        began = time.monotonic()
        try:
            async with asyncio.timeout(within):
                result = await asyncio.get_running_loop().run_in_executor(self._threads, action)
        except TimeoutError:
            self._patience.late()
            raise Unavailable(
                f"{where}: {verb} took longer than {within:.3g} s", hint="the disk hangs: look at the kernel log, or at the network"
            ) from None
        except OSError as error:
            raise disk.explained(
                error,
                verb,
                where,
                after=disk.GOES_ON,
                other_place="archive.url names a directory that the archiver has for itself",
            ) from error
        self._patience.done(self._deadline, size, time.monotonic() - began)
        return result

    def _prepare(self) -> None:
        """Make a place for temp files, and remove those that are older than an hour."""
        with self._lock:
            if self._prepared:
                return
            self._make_durable(self._scratch)
            ours = self._scratch / f"{self._unique}-clock"
            try:
                ours.touch(0o600)
                now = ours.stat().st_mtime  # by the file system's clock, as the times below
            finally:
                ours.unlink(missing_ok=True)
            for left in self._scratch.iterdir():
                with contextlib.suppress(FileNotFoundError):  # another archiver tidies up as well
                    if now - left.stat().st_mtime > _STALE_SECONDS:
                        left.unlink()
            self._prepared = True

    def _create(self, path: Path, data: bytes) -> bool:
        if self._failed_sync:
            raise Unavailable(self._failed_sync, hint="check the disk, then restart the archiver")
        self._prepare()
        for _ in range(_TRIES):
            try:
                return self._create_in_folder(path, data)
            except FileNotFoundError:
                if not self._scratch.is_dir():
                    raise  # all of it is gone, and that is for people to look at
                # Whoever deleted the last object in the folder took it away: another thread, or another archiver.
                with self._lock:
                    self._durable -= {path.parent, *path.parent.parents}
                    with contextlib.suppress(FileNotFoundError):
                        return self._create_in_folder(path, data)
        return self._create_in_folder(path, data)

    def _create_in_folder(self, path: Path, data: bytes) -> bool:
        """``FileNotFoundError`` when its folder goes away before it is there."""
        if path.parent not in self._durable:
            with self._lock:
                self._make_durable(path.parent)
        if path.exists():
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, "there is a folder of that name")
            self._sync_directory(path.parent)  # whoever created it may have died before this
            return False
        temp = self._scratch / f"{self._unique}-{next(self._names)}"
        try:
            handle = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(handle, view) :]
                os.fsync(handle)
                created = _link(temp, path, handle)
            finally:
                os.close(handle)
            # Who deleted it at once may have taken its folder away.
            with contextlib.suppress(FileNotFoundError):
                self._sync_directory(path.parent)
            return created
        finally:
            temp.unlink(missing_ok=True)

    def _delete(self, path: Path) -> None:
        try:
            path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return
        self._leave(path.parent)

    def _leave(self, folder: Path) -> None:
        """Make what was deleted in ``folder`` durable; a folder that nothing is in any more goes too, and so on upwards.

        Who creates in one at that moment finds it gone, and makes it again.
        """
        while folder.is_relative_to(self._root):
            with contextlib.suppress(FileNotFoundError):  # whoever deleted its last object took it away
                self._sync_directory(folder)
            if folder == self._root:
                return
            with self._lock:
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    pass
                except OSError:
                    return
                self._durable.discard(folder)
            folder = folder.parent

    def _make_durable(self, folder: Path) -> None:
        """Create ``folder`` and what is above it, and sync every name on the way: an earlier process may have died before it did."""
        existing = folder
        while not existing.exists():
            existing = existing.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        last = min(existing, self._root.parent, key=lambda each: len(each.parts))
        for each in (folder, *folder.parents):
            if each in self._durable:
                return
            # A folder above the root may be one that we cannot open; then it is not one that we created.
            with contextlib.suppress(*(() if each.is_relative_to(self._root) else (PermissionError,))):
                self._sync_directory(each)
            self._durable.add(each)
            if each == last:
                return

    def _sync_directory(self, folder: Path) -> None:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        except OSError as error:
            # The kernel reports a lost write once. A second fsync would succeed and prove nothing.
            self._failed_sync = f"{folder}: fsync failed ({error.strerror}); what was created there since the start may be lost"
            raise
        finally:
            os.close(handle)


def _link(temp: Path, path: Path, handle: int) -> bool:
    """Give the file ``temp``, open as ``handle``, the name ``path``; False when the name is taken."""
    try:
        os.link(temp, path)
    except FileExistsError:
        # NFS may do the work, lose the answer and repeat the call; the number of names tells.
        return os.fstat(handle).st_nlink > 1
    except OSError as error:
        if error.errno in _NO_LINKS:
            raise Refused(
                f"{path.parent}: the file system cannot create hard links ({error.strerror})",
                hint="without them two archivers could overwrite each other; use a local file system (ext4, XFS, btrfs, ZFS) or S3",
            ) from error
        raise
    return True


def _read(path: Path, start: int, length: int | None) -> bytes | None:
    try:
        # A pipe of that name would keep us waiting for whoever writes into it.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in _NOT_THERE:
            return None
        raise
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            return None
        first = max(0, found.st_size + start) if start < 0 else start
        left = max(0, found.st_size - first) if length is None else max(0, min(length, found.st_size - first))
        parts = []
        while left and (part := os.pread(handle, left, first)):
            parts.append(part)
            first, left = first + len(part), left - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
    finally:
        os.close(handle)


def _size(path: Path) -> int | None:
    try:
        found = path.stat()
    except OSError as error:
        if error.errno in _NOT_THERE:
            return None
        raise
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _walk(folder: Path, base: str, prefix: str, after: str) -> Iterator[str]:
    """Keys below ``folder``, whose own key is ``base``, in code point order; folders that cannot hold any are not opened.

    A folder below it that cannot be opened, lies too deep, or is a link to one, which may lead in a circle, is given as a key with a slash
    behind it, and names that are not UTF-8 are written so that they can be printed: no archive has such objects, and they hide none.
    """
    waiting = [_Folder(iter(_sorted(folder, base, prefix, after)), folder, base)]
    while waiting:
        current = waiting[-1]
        key = next(current.keys, None)
        if key is None:
            waiting.pop()
            continue
        inside = current.path / key[len(current.base) :].rstrip("/")
        if key.endswith("/") and len(waiting) < _DEEPEST and not inside.is_symlink():
            try:
                waiting.append(_Folder(iter(_sorted(inside, key, prefix, after)), inside, key))
                continue
            except OSError:
                pass
        if key > after:
            yield key


class _Folder(NamedTuple):
    keys: Iterator[str]
    path: Path
    base: str


def _sorted(folder: Path, base: str, prefix: str, after: str) -> list[str]:
    """Keys of what stands right in ``folder``; of folders with a slash, with which they sort as the keys below them do."""
    wanted = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("~"):
                    continue
                if _is_folder(entry):
                    key = f"{base}{entry.name}/"
                    if (key.startswith(prefix) or prefix.startswith(key)) and (key > after or after.startswith(key)):
                        wanted.append(key)
                elif (key := base + _printable(entry.name)).startswith(prefix) and key > after:
                    wanted.append(key)
    except (FileNotFoundError, NotADirectoryError):
        return []
    wanted.sort()
    return wanted


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        # A name that is not UTF-8 is no folder of ours: it is told as an object.
        return entry.is_dir() and _printable(entry.name) == entry.name
    except OSError:
        return False


def _printable(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
