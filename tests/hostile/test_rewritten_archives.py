"""Whoever can write to the archive: history written anew with right hashes, and objects of any name among the segments."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from archiver.journal.chain import End
from archiver.journal.entry import Run, SourceMark, advance
from archiver.journal.keys import SEGMENTS, segment_key
from archiver.journal.reader import Reader
from archiver.journal.segment import SegmentHeader, encode
from archiver.store.directory import DirectoryStore
from tests.fuzz import golden
from tests.servers.warm_commands import WarmCommands
from tests.simulation.loop import inline

LAST = len(golden.STORED) - 1


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    shutil.copytree(golden.FOLDER, folder)
    (folder / "expected.json").unlink()
    return folder


@pytest.fixture
def commands(archive: Path) -> Iterator[WarmCommands]:
    config = archive.parent / "archiver.yaml"
    config.write_text(f"archive: {{url: 'file://{archive}'}}\n")
    with WarmCommands(config) as warm:
        yield warm


async def rewrite(archive: Path, change: Callable[[bytes], bytes]) -> None:
    """Every body changed, and every segment written anew from the first one on, with right hashes, marks and times."""
    store = DirectoryStore(archive)
    reader = Reader(store, offload=inline)
    found = [each async for each in reader.walk()]
    end = End((await reader.identity()).id)
    for segment, valid in found:
        if not valid:
            continue
        runs = [
            Run.of(run.source, run.kind, map(change, run.bodies()), observed=run.observed, changed=run.changed, position=run.position)
            for run in segment.runs
        ]
        sources, following = dict(end.sources), end.next
        for run in runs:
            if run.source:
                sources[run.source] = advance(sources.get(run.source, SourceMark()), run, following, segment.header.number)
            following += run.count
        old = segment.header
        header = SegmentHeader(
            old.archive, old.number, old.epoch, end.next, following - end.next, old.time, old.observed_min, old.observed_max, end.chain, sources, old.session
        )  # fmt: skip
        data, footer = encode(header, runs, 3)
        end = End.after(header, footer)
        (archive / segment_key(old.number)).write_bytes(data)
    await store.close()


def verified(commands: WarmCommands, *words: str) -> subprocess.CompletedProcess[str]:
    return commands.call("verify", *words)


async def test_history_that_is_written_anew(archive: Path, commands: WarmCommands) -> None:
    """Alone it looks whole, and verify says so; the head that was noted is not held any more, which the exit code tells."""
    head = json.loads(verified(commands, "--json").stdout)["head"]
    assert verified(commands, "--known-head", head).returncode == 0
    await rewrite(archive, lambda body: body.replace(b"before-migration", b"behind-migration"))
    done = verified(commands)
    assert (done.returncode, "whole" in done.stdout) == (0, True), done.stderr
    for known in (head, head.partition("@")[0]):
        done = verified(commands, "--known-head", known, "--json")
        found = json.loads(done.stdout)
        assert (done.returncode, found["bad_slot"], bool(found["head_fault"])) == (7, None, True), done.stderr
        assert "rewritten" in done.stderr
    assert "NOT WHOLE" in verified(commands, "--known-head", head).stdout


def test_an_end_that_is_cut_off(archive: Path, commands: WarmCommands) -> None:
    """Likewise."""
    head = json.loads(verified(commands, "--json").stdout)["head"]
    (archive / segment_key(LAST)).unlink()
    assert verified(commands).returncode == 0
    done = verified(commands, "--known-head", head)
    assert (done.returncode, "cut off" in done.stderr) == (7, True), done.stderr


def test_what_is_no_head(commands: WarmCommands) -> None:
    """It is said before anything is read."""
    assert verified(commands, "--known-head", "HEAD").returncode == 2


def a_file(name: bytes, data: bytes = b"x") -> Callable[[bytes], None]:
    def put(folder: bytes) -> None:
        Path(os.fsdecode(folder + name)).write_bytes(data)

    return put


def nested(folder: bytes) -> None:
    Path(os.fsdecode(folder), *["d"] * 200).mkdir(parents=True)


def closed(folder: bytes) -> None:
    Path(os.fsdecode(folder), "closed").mkdir(0)


def circles(folder: bytes) -> None:
    place = Path(os.fsdecode(folder), "circles")
    place.mkdir()
    for name in ("one", "other"):
        (place / name).symlink_to("..")


STRAYS: dict[str, Callable[[bytes], None]] = {
    "control characters": a_file(b"\x1b]0;owned\x07\x1b[31m\r\n"),
    "a name that is not UTF-8": a_file(b"\xff\xfe\x80"),
    "the longest name that there is": a_file(b"z" * 255),
    "upper case": a_file(b"000000000000000A"),
    "a digit too few": a_file(b"000000000000008"),
    "a digit too many": a_file(b"00000000000000008"),
    "another ending": a_file(b"0000000000000003.bak", golden.STORED[3]),
    "a space in front": a_file(b" 0000000000000003", golden.STORED[3]),
    "the greatest number": a_file(b"ffffffffffffffff"),
    "an empty one a little behind": a_file(b"000000000000000f", b""),
    "right to left": a_file("\u202e000".encode()),
    "markup": a_file(b"[red]x {0} %s"),
    "a pipe": lambda folder: os.mkfifo(folder + b"000000000000000f"),
    "a link to itself": lambda folder: Path(os.fsdecode(folder + b"loop")).symlink_to("loop"),
    "a link to itself with a segment's name": lambda folder: Path(os.fsdecode(folder + b"000000000000000f")).symlink_to("000000000000000f"),
    "links that lead in circles": circles,
    "a link to everything": lambda folder: Path(os.fsdecode(folder + b"all")).symlink_to("/"),
    "a link to nothing": lambda folder: Path(os.fsdecode(folder + b"000000000000000f")).symlink_to("/nowhere"),
    "a folder with a segment's name": lambda folder: Path(os.fsdecode(folder + b"000000000000000f")).mkdir(),
    "folders without end": nested,
    "a folder that nobody may open": closed,
}
UNSEEN = {"a folder with a segment's name"} | ({"a folder that nobody may open"} if not os.geteuid() else set())
"""An empty folder is no object: it holds nobody up and is not named."""


@pytest.mark.parametrize("name", STRAYS)
def test_a_stray_of_any_name(name: str, archive: Path, commands: WarmCommands) -> None:
    """It stops no command, verify names it by its exit code, and nothing that a terminal obeys is printed."""
    STRAYS[name](os.fsencode(archive / SEGMENTS) + b"/")
    calls = [("status", "--offline"), ("status", "--offline", "--json"), ("verify",), ("verify", "--json")]
    for words in calls:
        done = commands.call(*words)
        named = words[0] == "verify" and name not in UNSEEN
        assert done.returncode == (7 if named else 0), (words, done.stderr)
        assert "NOT WHOLE" not in done.stdout
        assert ("none" in done.stderr) == named, (words, done.stderr)
        assert not any(
            (sign < " " and sign != "\n") or "\x7f" <= sign < "\xa0" or sign == "\u202e" for sign in done.stdout + done.stderr
        ), words
