"""Changes -> one Parquet file: a row for each changed field, as in CSV, with typed columns.

A file with the wanted name is there when everything is in it, and not before: rows go to a file beside it, which is renamed at the end and
removed when anything fails. Memory: one row group.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import UNSET, UnsetType

from archiver import disk
from archiver.errors import Invalid
from archiver.history.span.changes import Change, Field

GROUP_ROWS = 16384
GROUP_BYTES = 8 << 20
"""Of text in one row group, unless one row alone has more."""

_MOMENT = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        pa.field("change", pa.int64(), nullable=False),
        pa.field("entry", pa.int64()),
        pa.field("at", pa.int64()),
        pa.field("time", _MOMENT),
        pa.field("source", pa.string(), nullable=False),
        pa.field("operation", pa.string(), nullable=False),
        pa.field("table", pa.string()),
        pa.field("within", pa.list_(pa.string()), nullable=False),
        pa.field("kind", pa.string()),
        pa.field("namespace", pa.string()),
        pa.field("name", pa.string()),
        pa.field("key", pa.map_(pa.string(), pa.string())),
        pa.field("field", pa.string()),
        pa.field("old", pa.string()),
        pa.field("new", pa.string()),
        pa.field("had_old", pa.bool_()),
        pa.field("has_new", pa.bool_()),
        pa.field("old_known", pa.bool_()),
        pa.field("transaction", pa.int64()),
        pa.field("lsn", pa.string()),
        pa.field("field_manager", pa.string()),
        pa.field("uid", pa.string()),
        pa.field("resource_version", pa.string()),
        pa.field("happened_from", _MOMENT),
        pa.field("happened_until", _MOMENT),
        pa.field("late", pa.bool_(), nullable=False),
        pa.field("detail", pa.string()),
        pa.field("user", pa.string()),
    ]
)
"""Columns are only added. The documentation says what each means."""


class ParquetFile:
    """The rows of one file, as they come. Both methods raise as ``disk.explained`` has it."""

    def __init__(self, writer: pq.ParquetWriter, path: Path) -> None:
        self._writer, self._path = writer, path
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0
        self._changes = 0

    def add(self, change: Change) -> None:
        """One change, with a row for each of its fields, or one without any."""
        self._changes += 1
        about = {
            "change": self._changes,
            "entry": change.entry or None,
            "at": change.at or None,
            "time": change.time or None,
            "source": change.source,
            "operation": change.operation,
            "within": change.within,
            "key": list(change.key.items()) or None,
            "transaction": change.transaction or None,
            "happened_from": change.happened_from or None,
            "happened_until": change.happened_until or None,
            "late": change.late,
        }
        for name in ("table", "kind", "namespace", "name", "lsn", "field_manager", "uid", "resource_version", "detail", "user"):
            about[name] = getattr(change, name) or None
        size = sum(len(key) + len(value or "") for key, value in change.key.items()) + len(change.detail) + 200
        for row in [{**about, **_of_field(field)} for field in change.fields] or [about]:
            self._rows.append(row)
            self._bytes += size + sum(len(row.get(name) or "") for name in ("field", "old", "new"))
            if len(self._rows) >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
                self.flush()

    def flush(self) -> None:
        """Write what is held as a row group."""
        if self._rows:
            table = pa.Table.from_pylist(self._rows, schema=SCHEMA)
            with disk.errors("write the answer", self._path):
                self._writer.write_table(table, row_group_size=GROUP_ROWS)
        self._rows, self._bytes = [], 0


def _of_field(field: Field) -> dict[str, Any]:
    return {
        "field": field.name,
        "old": _text(field.old),
        "new": _text(field.new),
        "had_old": None if field.old_known is False else field.old is not UNSET,
        "has_new": field.new is not UNSET,
        "old_known": field.old_known is not False,
    }


def _text(value: Any | UnsetType) -> str | None:
    """As CSV has it: text as it is, everything else as JSON."""
    if value is UNSET or value is None:
        return None
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


@contextmanager
def parquet_file(path: Path) -> Iterator[ParquetFile]:
    """A new file at ``path``, in place of one that is there; nothing is there of it when the block raises.

    Raises ``Invalid`` for a place that is no file, else as ``disk.explained``.
    """
    if path.exists() and not path.is_file():
        raise Invalid(f"{path} is there and is no file", hint="name a file with --output")
    with disk.errors("write the answer", path):
        number, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".partial", dir=path.parent)
    with ExitStack() as left:
        left.callback(_remove, name)
        out = open(number, "wb")  # noqa: PTH123, SIM115 -- it is open, and closed below
        # What is not written yet is tried once more by that.
        left.callback(_close, out)
        with disk.errors("write the answer", path):
            writer = pq.ParquetWriter(out, SCHEMA, compression="zstd", write_page_checksum=True)
        left.callback(_close, writer)
        rows = ParquetFile(writer, path)
        yield rows
        rows.flush()
        with disk.errors("write the answer", path):
            writer.close()
            out.flush()
            os.fsync(out.fileno())
            out.close()
            os.replace(name, path)  # noqa: PTH105
        left.pop_all()


def _close(what: Any) -> None:
    with suppress(OSError, pa.ArrowException):
        what.close()


def _remove(name: str) -> None:
    with suppress(OSError):
        os.unlink(name)  # noqa: PTH108
