"""Commits of the log of history files."""

from __future__ import annotations

import msgspec
import pytest

from archiver.errors import Corrupt
from archiver.lake.delta_log import Added, TableState, commit, follow
from archiver.lake.log_checkpoint import from_summary, to_summary
from archiver.lake.progress import FORMAT, Progress

PROGRESS = Progress(archive="a", source="db", covered=9, segment=2, chain="", resume_entry=10, resume_segment=2)


def made(progress: Progress, added: list[str], removed: list[str] | None = None, *, first: bool = False) -> bytes:
    """A commit of files of one byte."""
    files = [Added(path, 1, 0, {"numRecords": 1}) for path in added]
    return commit(progress, files, removed or [], now=1_000_000, by="1", first=first, identity="i")


def test_files_come_and_go() -> None:
    """What a commit adds is there until another removes it; the newest progress counts, and commits of others have none."""
    state = TableState()
    follow(state, 0, made(PROGRESS, ["one", "two words"], first=True))
    follow(state, 1, made(msgspec.structs.replace(PROGRESS, covered=19), ["three"], ["one", "two words"]))
    follow(
        state,
        2,
        b'{"commitInfo":{"operation":"OPTIMIZE","n":[1]}}\n\n{"add":{"path":"a%20b","size":7,"stats":"x"}}\n{"txn":{"appId":"x"}}\n',
    )
    assert (state.files, state.version, state.progress and state.progress.covered) == ({"three": 1, "a b": 7}, 2, 19)


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b'{"add":{"size":1}}', b'{"commitInfo":{"archiver":{"format":"x"}}}', b"[" * 99999])
def test_what_is_no_commit_is_told(body: bytes) -> None:
    """Neither forged nor damaged bytes end in another error."""
    with pytest.raises(Corrupt, match="commit 0 of the history files cannot be read"):
        follow(TableState(), 0, body)


def test_holes_and_later_formats_are_told() -> None:
    """A commit that is missing, and one of a version that knows more than this one."""
    with pytest.raises(Corrupt, match="commit 0 of the history files is missing"):
        follow(TableState(), 1, made(PROGRESS, []))
    later = msgspec.json.encode({"commitInfo": {"archiver": {"format": FORMAT + 1, "covered": "otherwise"}}})
    with pytest.raises(Corrupt, match="format 2"):
        follow(TableState(), 0, later)


def test_a_summary_says_what_the_commits_say() -> None:
    """Files, what is known of them, what was removed lately, and the progress; another version, or damage, is told."""
    state = TableState()
    follow(state, 0, made(PROGRESS, ["one", "two words"], first=True))
    follow(state, 1, made(PROGRESS, ["three"], ["one"]))
    body = to_summary(state, keep_removed_since=0)
    found = from_summary(1, body)
    assert found == msgspec.structs.replace(state, summary=1)
    assert (found.files, found.removed) == ({"two words": 1, "three": 1}, {"one": 1000})
    assert (found.identity, found.created, found.progress) == ("i", 1000, PROGRESS)
    assert from_summary(1, to_summary(state, keep_removed_since=1001)).removed == {}
    for version, damaged in ((2, body), (1, body[:-9]), (1, b"{}"), (1, b"")):
        with pytest.raises(Corrupt, match="summary"):
            from_summary(version, damaged)
