"""Commits of a Delta log as bytes, and what they add up to. Pure.

Written is what every reader understands (protocol: reader 1, writer 2). Layout: the Delta transaction protocol, "Actions".
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from archiver.errors import Corrupt
from archiver.journal.remedies import HISTORY_ANEW
from archiver.lake.columns import DELTA_SCHEMA
from archiver.lake.data_file import Seal
from archiver.lake.progress import FORMAT, Progress
from archiver.untrusted import Unreadable, decode_untrusted

READER_VERSION, WRITER_VERSION = 1, 2
COMMIT_LIMIT = 1 << 28
"""Bytes that a commit may have."""


class Added(msgspec.Struct, frozen=True):
    """A file of the table, as a commit names it."""

    path: str
    size: int
    modification_time: int
    """Milliseconds."""
    stats: dict[str, object]
    seal: Seal | None = None


class _Add(msgspec.Struct, frozen=True, rename="camel"):
    path: str
    size: int = 0
    modification_time: int = 0
    stats: str | None = None
    tags: dict[str, str | None] | None = None


class _MetaData(msgspec.Struct, frozen=True, rename="camel"):
    id: str = ""
    created_time: int | None = None


class _Remove(msgspec.Struct, frozen=True, rename="camel"):
    path: str
    deletion_timestamp: int = 0


class _CommitInfo(msgspec.Struct, frozen=True):
    archiver: Progress | None = None


class _Format(msgspec.Struct, frozen=True):
    format: int = 0


class _Foreign(msgspec.Struct, frozen=True):
    archiver: _Format | None = None


class _AnyInfo(msgspec.Struct, frozen=True):
    commit: _Foreign | None = msgspec.field(default=None, name="commitInfo")


class _Action(msgspec.Struct, frozen=True):
    add: _Add | None = None
    remove: _Remove | None = None
    table: _MetaData | None = msgspec.field(default=None, name="metaData")
    commit: _CommitInfo | None = msgspec.field(default=None, name="commitInfo")


class TableState(msgspec.Struct):
    """What the commits so far add up to."""

    version: int = -1
    """Of the newest commit; -1 for no table."""
    files: dict[str, int] = {}
    """Paths relative to the table, and sizes."""
    progress: Progress | None = None
    """Of the newest commit of ours."""
    removed: dict[str, int] = {}
    """Files that are no longer of it, and when they went, milliseconds."""
    told: dict[str, tuple[int, str | None]] = {}
    """When each file was made, milliseconds, and its statistics, JSON."""
    seals: dict[str, Seal] = {}
    """Of files that we wrote."""
    identity: str = ""
    created: int = 0
    summary: int = -1
    """Version of the summary that reading began with; -1 for none."""


def follow(state: TableState, version: int, body: bytes) -> None:
    """Apply commit ``version`` to ``state``. Raises ``Corrupt``."""
    if version != state.version + 1:
        raise Corrupt(f"commit {state.version + 1} of the history files is missing", hint=HISTORY_ANEW)
    for line in body.splitlines():
        if not line.strip():
            continue
        try:
            info = decode_untrusted(line, _AnyInfo, most=COMMIT_LIMIT).commit
            if info is not None and info.archiver is not None and info.archiver.format > FORMAT:
                raise Corrupt(
                    f"the history files are in format {info.archiver.format}, which this version does not know", hint=HISTORY_ANEW
                )
            action = decode_untrusted(line, _Action, most=COMMIT_LIMIT)
        except Unreadable as error:
            raise Corrupt(f"commit {version} of the history files cannot be read: {error}", hint=HISTORY_ANEW) from None
        if action.add is not None:
            path = urllib.parse.unquote(action.add.path)
            state.files[path] = action.add.size
            state.told[path] = (action.add.modification_time, action.add.stats)
            state.removed.pop(path, None)
            if text := (action.add.tags or {}).get(_SEAL):
                state.seals[path] = _seal(version, text)
        elif action.remove is not None:
            path = urllib.parse.unquote(action.remove.path)
            state.files.pop(path, None)
            state.told.pop(path, None)
            state.seals.pop(path, None)
            state.removed[path] = action.remove.deletion_timestamp
        elif action.commit is not None and action.commit.archiver is not None:
            state.progress = action.commit.archiver
        elif action.table is not None:
            state.identity, state.created = action.table.id, action.table.created_time or 0
    state.version = version


def _seal(version: int, text: str) -> Seal:
    body = text.encode("utf-8", "surrogatepass")
    try:
        return decode_untrusted(body, Seal, most=len(body))
    except Unreadable as error:
        raise Corrupt(f"commit {version} of the history files cannot be read: {error}", hint=HISTORY_ANEW) from None


_SEAL = "archiver.seal"


def commit(
    progress: Progress, added: Sequence[Added], removed: Iterable[str] = (), *, now: int, by: str, first: bool, identity: str
) -> bytes:
    """The body of one commit. ``first``: it makes the table, under ``identity``. ``removed`` files are replaced by ``added`` with the same
    records.
    """
    removed = list(removed)
    actions: list[dict[str, Any]] = [
        {
            "commitInfo": {
                "timestamp": now // 1000,
                "operation": "OPTIMIZE" if removed else "WRITE",
                "operationParameters": {},
                "engineInfo": f"archiver/{by}",
                "archiver": progress,
            }
        }
    ]
    if first:
        actions.append({"protocol": {"minReaderVersion": READER_VERSION, "minWriterVersion": WRITER_VERSION}})
        schema = msgspec.json.encode(DELTA_SCHEMA).decode()
        form = {"provider": "parquet", "options": {}}
        table = {"id": identity, "format": form, "schemaString": schema, "partitionColumns": [], "configuration": {}}
        actions.append({"metaData": {**table, "createdTime": now // 1000}})
    actions += [{"remove": {"path": urllib.parse.quote(path), "deletionTimestamp": now // 1000, "dataChange": False}} for path in removed]
    actions += [
        {
            "add": {
                "path": urllib.parse.quote(file.path),
                "partitionValues": {},
                "size": file.size,
                "modificationTime": file.modification_time,
                "dataChange": not removed,
                "stats": msgspec.json.encode(file.stats).decode(),
                **({"tags": {_SEAL: msgspec.json.encode(file.seal).decode()}} if file.seal else {}),
            }
        }
        for file in added
    ]
    return b"".join(msgspec.json.encode(action) + b"\n" for action in actions)
