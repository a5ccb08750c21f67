"""Runs of the streams of one cluster in journal order -> records of its objects' history. Pure.

Every body stands in a record as it came, so that a question is answered by the same code from records as from the journal. The one thing
that is left out is an object in a list that was recorded just so, in the same step, already.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pyarrow as pa

from archiver.journal.entry import Kind, Placed, Run
from archiver.kubernetes import json_fields as kj
from archiver.kubernetes.records import Absent, Watch
from archiver.kubernetes.stream_name import StreamName
from archiver.lake.columns import SCHEMA, entry_position
from archiver.lake.progress import Progress
from archiver.untrusted import Unreadable, decode_untrusted

LISTED, ABSENT = "LISTED", "ABSENT"
_REPLACED = "\ufffd"
"""In the text of a row: bytes that are no UTF-8, or this character itself. Which of them, only the journal tells."""
_TOLD = frozenset((Kind.K8S_WATCH, Kind.K8S_ITEM, Kind.K8S_EVENT, Kind.K8S_ABSENT, Kind.CHECKPOINT, Kind.GAP, Kind.PROGRESS))


def resource_name(stream: str) -> str:
    """``plural.group`` of a stream, as records are named; the core group's ends with a dot."""
    name = StreamName.parse(stream)
    return f"{name.plural}.{name.group}"


def object_key(namespace: str, name: str) -> str:
    """The key of an object's records."""
    return f"{namespace}/{name}"


class ObjectChanges:
    """Takes runs behind ``progress.covered``."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._newest = progress.newest
        self._streams = set(progress.streams)
        self._last: dict[str, dict[str, tuple[str, str, bytes]]] = {}
        """By stream and key: uid, resourceVersion and mark of redaction that were recorded last."""
        self._epochs: dict[str, int] = {}

    def feed(self, placed: Placed) -> list[pa.Table]:
        """Take the next run of one of the cluster's streams; its records. Raises ``Corrupt``."""
        run = placed.run
        if placed.first <= self._progress.covered or run.kind not in _TOLD:
            return []
        if run.kind is Kind.PROGRESS and not any(run.bodies()):
            return []
        self._streams.add(run.source)
        self._newest = max(self._newest, run.observed)
        records = []
        for entry, body in enumerate(run.bodies(), placed.first):
            key, operation, row = self._told(run, body)
            records.append((key, operation, row, entry))
        return [self._table(placed, records)] if records else []

    def progress(self, covered: int) -> Progress:
        """Where to go on, once all up to entry ``covered`` was fed. Its segments and chain are the caller's."""
        found = msgspec.structs.replace(self._progress, covered=covered, resume_entry=covered + 1, segment=-1, chain="", resume_segment=-1)
        return msgspec.structs.replace(found, newest=self._newest, streams=sorted(self._streams))

    def _told(self, run: Run, body: bytes) -> tuple[str, str, str | None]:
        """Key, operation and row of one entry; without a key where it is of no one object, or cannot be read."""
        text = body.decode("utf-8", "replace")
        try:
            if run.kind is Kind.K8S_EVENT:
                event = kj.event.decode(body)
                line = kj.line.decode(body)
                meta = event.object.metadata
                key = object_key(meta.namespace, meta.name)
                self._last.setdefault(run.source, {})[key] = _version(meta)
                return key, event.type, bytes(line.object).decode("utf-8", "replace")
            if run.kind is Kind.K8S_ITEM:
                meta = kj.head.decode(body).metadata
                key, version = object_key(meta.namespace, meta.name), _version(meta)
                last = self._last.setdefault(run.source, {})
                known = last.get(key) == version
                last[key] = version
                return key, LISTED, None if known else text
            if run.kind is Kind.K8S_ABSENT:
                absent = decode_untrusted(body, Absent, most=len(body))
                return object_key(absent.namespace, absent.name), ABSENT, text
            if run.kind is Kind.K8S_WATCH:
                # In a rewound cluster versions come again, with other contents.
                epoch = decode_untrusted(body, Watch, most=len(body)).epoch
                if self._epochs.setdefault(run.source, epoch) != epoch:
                    self._last.pop(run.source, None)
                self._epochs[run.source] = epoch
        except Unreadable:
            pass
        return "", run.kind.name, text

    def _table(self, placed: Placed, records: list[tuple[str, str, str | None, int]]) -> pa.Table:
        run, count = placed.run, len(records)
        entries = [entry for *_, entry in records]
        columns: dict[str, Any] = {
            "source": [run.source] * count,
            "name": [resource_name(run.source)] * count,
            "key": [key for key, *_ in records],
            "position": [entry_position(entry) for entry in entries],
            "as_of": [self._newest] * count,
            "committed": [run.observed] * count,
            "operation": [operation for _, operation, _, _ in records],
            "row": [row for _, _, row, _ in records],
            "commit_entry": entries,
            "entry": entries,
            "segment": [placed.segment] * count,
        }
        arrays = []
        for field in SCHEMA:
            missing = [None if field.nullable else 0] * count
            arrays.append(pa.array(columns.get(field.name, missing), field.type))
        return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _version(meta: kj.Meta) -> tuple[str, str, bytes]:
    # The same state has other bytes since its kind is redacted, or is so no more.
    return meta.uid, meta.resource_version, bytes(meta.archiver_redacted)


class NotVerbatim(Exception):
    """A record may have other bytes than its entry: the journal is to be asked."""


def as_run(record: dict[str, Any]) -> Run | None:
    """The entry that a record was made of, as a run of its own; an object that a list repeats has no body: ``None``.

    Raises ``NotVerbatim``.
    """
    if record["row"] is not None and _REPLACED in record["row"]:
        raise NotVerbatim
    kind, body = _body(record)
    return None if body is None else Run.of(record["source"], kind, [body], observed=record["committed"])


def _body(record: dict[str, Any]) -> tuple[Kind, bytes | None]:
    operation, row = record["operation"], record["row"]
    body = None if row is None else row.encode()
    if not record["key"]:
        return Kind[operation], body
    if operation == LISTED:
        return Kind.K8S_ITEM, body
    if operation == ABSENT:
        return Kind.K8S_ABSENT, body
    kind = msgspec.json.encode(operation)
    return Kind.K8S_EVENT, None if body is None else b'{"type":' + kind + b',"object":' + body + b"}"
