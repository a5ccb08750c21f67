"""The directory store when the file system fails, and when processes die or race."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archiver.errors import Invalid, Refused, Unavailable
from archiver.store.directory import DirectoryStore

CALLS = ("open", "write", "fsync", "link")


class Faults:
    """Wraps the system calls of ``os``: counts them, and lets one fail, before or after it was done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        self.fail_at = -1
        self.after = False
        self.error = errno.EIO
        for name in CALLS:
            monkeypatch.setattr(os, name, self.wrap(name, getattr(os, name)))

    def wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            number = len(self.seen)
            self.seen.append(name)
            if number == self.fail_at and not self.after:
                raise OSError(self.error, os.strerror(self.error))
            result = real(*args, **kwargs)
            if number == self.fail_at:
                if name == "open":
                    os.close(result)
                raise OSError(self.error, os.strerror(self.error))
            return result

        return call


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    return Faults(monkeypatch)


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


async def test_every_system_call_may_fail(tmp_path: Path, faults: Faults) -> None:
    """Whichever system call of a first put fails, done or not: it is said, the object is whole or absent, no temp file stays."""
    first = DirectoryStore(tmp_path / "good")
    assert await first.put_if_absent("journal/0", b"whole")
    await first.close()
    total = len(faults.seen)
    assert faults.seen.count("fsync") >= 5
    assert faults.seen.count("link") == 1
    for at in range(total):
        for after in (False, True):
            faults.seen, faults.fail_at, faults.after = [], at, after
            root = tmp_path / f"{at}-{after}"
            store = DirectoryStore(root)
            with pytest.raises(Unavailable):
                await store.put_if_absent("journal/0", b"whole")
            faults.fail_at = -1
            assert await store.get("journal/0") in (None, b"whole")
            assert [name for name in names(root) if not name.startswith("journal/")] == []
            await store.close()
            fresh = DirectoryStore(root)
            created = await fresh.put_if_absent("journal/0", b"other")
            assert await fresh.get("journal/0") == (b"other" if created else b"whole")
            assert await fresh.list("") == ["journal/0"]
            await fresh.close()


async def test_failed_sync_of_a_folder_is_not_forgotten(tmp_path: Path, faults: Faults) -> None:
    """After a folder could not be synced, no put succeeds any more: the next fsync would prove nothing."""
    store = DirectoryStore(tmp_path)
    await store.put_if_absent("journal/0", b"x")
    faults.seen, faults.fail_at = [], 5
    with pytest.raises(Unavailable):
        await store.put_if_absent("journal/1", b"x")
    assert faults.seen[faults.fail_at] == "fsync"
    with pytest.raises(Unavailable, match="may be lost") as caught:
        await store.put_if_absent("journal/1", b"x")
    assert "restart" in caught.value.hint
    await store.close()


@pytest.mark.parametrize(
    ("number", "error", "hint"),
    [
        (errno.ENOSPC, Unavailable, "free space"),
        (errno.EDQUOT, Unavailable, "quota"),
        (errno.EIO, Unavailable, "kernel log"),
        (errno.EROFS, Unavailable, "read-only"),
        (errno.EACCES, Invalid, "right to"),
    ],
)
async def test_errors_say_what_to_do(tmp_path: Path, faults: Faults, number: int, error: type[Exception], hint: str) -> None:
    """Each way in which a disk refuses has its own advice, and the place is named."""
    store = DirectoryStore(tmp_path)
    await store.put_if_absent("journal/0", b"x")
    faults.seen, faults.fail_at, faults.error = [], 1, number
    with pytest.raises(error, match=str(tmp_path)) as caught:
        await store.put_if_absent("journal/1", b"x")
    assert hint in getattr(caught.value, "hint", "")
    await store.close()


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
async def test_refuses_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Without hard links there is no create-if-absent: refused at the first put, with nothing created."""

    def link(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)
    store = DirectoryStore(tmp_path)
    with pytest.raises(Refused, match="hard links"):
        await store.put_if_absent("journal/0", b"x")
    assert names(tmp_path) == []
    await store.close()


async def test_lost_answer_of_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that was made but is answered with "exists", as NFS may do, counts as created by us."""
    store = DirectoryStore(tmp_path)
    await store.put_if_absent("journal/0", b"x")
    real = os.link

    def link(*args: Any, **kwargs: Any) -> None:
        real(*args, **kwargs)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(os, "link", link)
    assert await store.put_if_absent("journal/1", b"x")
    await store.close()


async def test_hanging_disk_ends_at_the_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that does not answer is given up at the deadline; the put may still land, whole."""
    real, answers = os.fsync, threading.Event()

    def fsync(handle: int) -> None:
        assert answers.wait(60)
        real(handle)

    store, patient = DirectoryStore(tmp_path, deadline_seconds=0.2), DirectoryStore(tmp_path)
    await patient.put_if_absent("journal/0", b"x")
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(Unavailable, match=r"longer than 0\.2 s"):
        await store.put_if_absent("journal/1", b"x")
    assert await patient.get("journal/1") is None
    answers.set()
    while await patient.get("journal/1") is None:
        await asyncio.sleep(0.01)
    assert await patient.get("journal/1") == b"x"
    await store.close()
    await patient.close()


async def test_files_are_private(tmp_path: Path) -> None:
    """Objects hold the sources' data: nobody but their owner may read them."""
    store = DirectoryStore(tmp_path / "archive")
    await store.put_if_absent("journal/0", b"x")
    assert stat.S_IMODE((tmp_path / "archive/journal/0").stat().st_mode) == 0o600
    await store.close()


async def test_reading_touches_nothing(tmp_path: Path) -> None:
    """An archive that is not there, or that may only be read, is looked at without creating anything."""
    store = DirectoryStore(tmp_path / "none")
    assert await store.get("archive.json") is None
    assert await store.list("") == []
    assert not (tmp_path / "none").exists()
    await store.close()


async def test_old_temp_files_are_removed(tmp_path: Path) -> None:
    """What writers left that died goes after an hour; what another may be writing stays."""
    scratch = tmp_path / "~tmp"
    scratch.mkdir()
    (scratch / "old").write_bytes(b"x")
    os.utime(scratch / "old", (time.monotonic(), time.monotonic()))
    (scratch / "young").write_bytes(b"x")
    store = DirectoryStore(tmp_path)
    await store.put_if_absent("journal/0", b"x")
    assert names(tmp_path) == ["journal/0", "~tmp/young"]
    await store.close()


async def test_a_folder_is_no_object(tmp_path: Path) -> None:
    """A key that is a folder of other keys cannot be created, and is said not to exist."""
    store = DirectoryStore(tmp_path)
    await store.put_if_absent("a/b", b"x")
    with pytest.raises(Invalid):
        await store.put_if_absent("a", b"x")
    with pytest.raises(Invalid):
        await store.put_if_absent("a/b/c", b"x")
    assert await store.get("a") is None
    await store.close()


_WRITER = """
import asyncio, sys
from pathlib import Path
from archiver.store.directory import DirectoryStore

async def main():
    store = DirectoryStore(Path(sys.argv[1]))
    for n in range(int(sys.argv[3])):
        if await store.put_if_absent(f"journal/{n:06d}", (sys.argv[2] * 5000).encode()):
            print(n, flush=True)

asyncio.run(main())
"""


def test_processes_race(tmp_path: Path) -> None:
    """Of processes that race for the same keys exactly one creates each, and the object is that one's, whole."""
    racers = [subprocess.Popen([sys.executable, "-c", _WRITER, tmp_path, name, "100"], stdout=subprocess.PIPE, text=True) for name in "abc"]
    won = {name: [int(line) for line in racer.communicate(timeout=60)[0].split()] for name, racer in zip("abc", racers, strict=True)}
    assert sorted(n for numbers in won.values() for n in numbers) == list(range(100))
    for name, numbers in won.items():
        for n in numbers:
            assert (tmp_path / f"journal/{n:06d}").read_text() == name * 5000


def test_killed_writer_leaves_whole_objects(tmp_path: Path) -> None:
    """After ``kill -9`` everything that was reported is there, everything that is there is whole, and the next writer goes on."""
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, tmp_path, "k", "100000"], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        reported = [int(writer.stdout.readline()) for _ in range(40)]
        writer.kill()
        reported += [int(line) for line in writer.communicate()[0].split()]
        found = {int(path.name): path.read_text() for path in (tmp_path / "journal").iterdir()}
        assert set(reported) <= set(found)
        assert set(found.values()) == {"k" * 5000}


def folders(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_dir() and path.name != "~tmp")


async def test_a_folder_goes_with_its_last_object(tmp_path: Path) -> None:
    """And those above it that hold nothing else; not the archive's own, nor what holds something that is no object of ours."""
    store = DirectoryStore(tmp_path / "archive")
    for key in ("probe/x/1/a", "probe/x/2/a", "probe/y/a", "kept/a", "kept/b"):
        await store.put_if_absent(key, b"")
    await asyncio.gather(*(store.delete(f"probe/x/{number}/a") for number in (1, 2)), store.delete("kept/a"), store.delete("none/a"))
    assert folders(tmp_path / "archive") == ["kept", "probe", "probe/y"]
    (tmp_path / "archive/probe/y/~mine").touch()
    await store.delete("probe/y/a")
    await store.delete("kept/b")
    assert folders(tmp_path / "archive") == ["probe", "probe/y"]
    assert await store.put_if_absent("kept/c/d", b"again")
    assert await store.get("kept/c/d") == b"again"
    await store.close()


async def test_folders_that_others_take_away(tmp_path: Path) -> None:
    """Two archivers create and delete in one folder at the same time: each object is there from its creation to its deletion."""
    one, other = DirectoryStore(tmp_path), DirectoryStore(tmp_path)

    async def come_and_go(store: DirectoryStore, name: str) -> None:
        for number in range(40):
            key = f"a/b/{name}-{number}"
            assert await store.put_if_absent(key, b"x")
            assert await store.get(key) == b"x"
            await store.delete(key)
            assert await store.get(key) is None

    await asyncio.gather(*(come_and_go(store, f"{store is one}{number}") for store in (one, other) for number in range(3)))
    assert folders(tmp_path) == []
    await one.close()
    await other.close()


async def test_an_archive_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    """Somebody moved it away while it was in use: that is an error, and no empty archive stands in its place."""
    store = DirectoryStore(tmp_path / "archive")
    await store.put_if_absent("journal/0", b"x")
    (tmp_path / "archive").rename(tmp_path / "moved")
    with pytest.raises((Refused, Unavailable)):
        await store.put_if_absent("journal/1", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["moved"]
    await store.close()
