"""What the commits of a Delta log add up to, as one file: whoever reads the log begins with the newest of these. Pure.

Layout: the Delta transaction protocol, "Checkpoints", V1. ``Progress`` is not of Delta and stays in the commit of the same version.
"""

from __future__ import annotations

import io
import urllib.parse
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from archiver.errors import Corrupt
from archiver.lake.columns import DELTA_SCHEMA
from archiver.lake.delta_log import READER_VERSION, WRITER_VERSION, TableState

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
    """The file of ``state``, without what was removed before ``keep_removed_since`` (milliseconds)."""
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


def from_checkpoint(version: int, data: bytes) -> TableState:
    """The state that the checkpoint of ``version`` has, without progress. ``Corrupt`` when it cannot be read."""
    state = TableState(version=version)
    try:
        table = pq.read_table(io.BytesIO(data), use_threads=False, page_checksum_verification=True)
        for action in table.to_pylist():
            if add := action.get("add"):
                path = urllib.parse.unquote(add["path"])
                state.files[path], state.told[path] = int(add["size"]), (int(add["modificationTime"] or 0), add.get("stats"))
            elif remove := action.get("remove"):
                state.removed[urllib.parse.unquote(remove["path"])] = int(remove["deletionTimestamp"] or 0)
            elif table_of := action.get("metaData"):
                state.identity, state.created = str(table_of["id"]), int(table_of["createdTime"] or 0)
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise Corrupt(
            f"checkpoint {version} of the history files' log cannot be read", hint="delete it: the commits say the same"
        ) from error
    return state
