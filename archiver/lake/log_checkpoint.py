"""What the commits of a Delta log add up to, once for other engines and once for us: whoever reads begins with the newest. Pure.

Theirs is a checkpoint (the Delta transaction protocol, "Checkpoints", V1), which is Parquet with nested columns. Ours is a summary, which
is JSON: forged Parquet can end the process that reads it, and we read no more of that than we must.
"""

from __future__ import annotations

import io
import urllib.parse
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from archiver.errors import Corrupt
from archiver.journal.remedies import HISTORY_ANEW
from archiver.lake.columns import DELTA_SCHEMA
from archiver.lake.delta_log import COMMIT_LIMIT, READER_VERSION, WRITER_VERSION, TableState
from archiver.lake.progress import FORMAT
from archiver.untrusted import Unreadable, decode_untrusted

_TEXTS = pa.map_(pa.string(), pa.string())
_SCHEMA = pa.schema(
    {
        "protocol": pa.struct({"minReaderVersion": pa.int32(), "minWriterVersion": pa.int32()}),
        "metaData": pa.struct(
            {
                "id": pa.string(),
                "format": pa.struct({"provider": pa.string(), "options": _TEXTS}),
                "schemaString": pa.string(),
                "partitionColumns": pa.list_(pa.string()),
                "configuration": _TEXTS,
                "createdTime": pa.int64(),
            }
        ),
        "add": pa.struct(
            {
                "path": pa.string(),
                "partitionValues": _TEXTS,
                "size": pa.int64(),
                "modificationTime": pa.int64(),
                "dataChange": pa.bool_(),
                "stats": pa.string(),
            }
        ),
        "remove": pa.struct({"path": pa.string(), "deletionTimestamp": pa.int64(), "dataChange": pa.bool_()}),
    }
)


def to_checkpoint(state: TableState, *, keep_removed_since: int) -> bytes:
    """The checkpoint of ``state``, without what was removed before ``keep_removed_since`` (milliseconds)."""
    form = {"provider": "parquet", "options": []}
    table = {"id": state.identity, "format": form, "schemaString": msgspec.json.encode(DELTA_SCHEMA).decode()}
    actions: list[dict[str, Any]] = [
        {"protocol": {"minReaderVersion": READER_VERSION, "minWriterVersion": WRITER_VERSION}},
        {"metaData": {**table, "partitionColumns": [], "configuration": [], "createdTime": state.created}},
    ]
    for path, size in state.files.items():
        modified, stats = state.told.get(path, (0, None))
        named = {"path": urllib.parse.quote(path), "partitionValues": [], "size": size}
        actions.append({"add": {**named, "modificationTime": modified, "dataChange": False, "stats": stats}})
    for path, when in state.removed.items():
        if when >= keep_removed_since:
            actions.append({"remove": {"path": urllib.parse.quote(path), "deletionTimestamp": when, "dataChange": False}})
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(actions, _SCHEMA), out, compression="zstd")
    return out.getvalue()


def to_summary(state: TableState, *, keep_removed_since: int) -> bytes:
    """``state`` as we read it again, without what was removed before ``keep_removed_since`` (milliseconds)."""
    removed = {path: when for path, when in state.removed.items() if when >= keep_removed_since}
    return msgspec.json.encode(msgspec.structs.replace(state, removed=removed, summary=state.version))


def from_summary(version: int, body: bytes) -> TableState:
    """The state that the summary of ``version`` has. ``Corrupt`` when it cannot be read, or is of another version."""
    hint = HISTORY_ANEW
    try:
        state = decode_untrusted(body, TableState, most=COMMIT_LIMIT)
    except Unreadable as error:
        raise Corrupt(f"summary {version} of the history files' log cannot be read: {error}", hint=hint) from None
    if state.version != version or state.summary != version or state.progress is None or state.progress.format > FORMAT:
        raise Corrupt(f"summary {version} of the history files' log is of another version", hint=hint)
    return state
