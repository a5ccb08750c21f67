"""Records of history files -> counts by lane and second. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from archiver.lake.counts import CHANGES, DELETIONS, Cells, Counts, Lane

COLUMNS = ("source", "name", "key", "committed", "operation")
"""Of records: what is counted by."""


def add_records(counts: Counts, records: pa.Table, source: str) -> None:
    """Count those of ``records`` of ``source`` that are changes."""
    operations, operation = _coded(records["operation"])
    known = [text.lower() for text in operations]
    rows = np.flatnonzero(np.array([text in CHANGES for text in known], bool)[operation]) if known else np.array([], np.int64)
    if not len(rows):
        return
    streams, stream = _coded(records["source"])
    names, name = _coded(records["name"])
    # A stream of a cluster has a slash behind the name of the source, and keys of its records begin with a namespace.
    spaces, space = _namespaces(records["key"]) if any("/" in text for text in streams) else ([""], np.zeros(records.num_rows, np.int64))
    of_objects = np.array(["/" in text for text in streams], bool)[stream]
    place = (name * 2 + of_objects) * len(spaces) + np.where(of_objects, space, 0)
    seconds = records["committed"].cast(pa.int64()).to_numpy() // 1_000_000
    deleted = np.array([text in DELETIONS for text in known], np.int64)[operation]
    rows = rows[np.argsort(place[rows], kind="stable")]
    ends = np.flatnonzero(np.diff(place[rows], append=-1)) + 1
    begin = 0
    for end in ends.tolist():
        mine, (called, inside) = rows[begin:end], divmod(int(place[rows[begin]]), len(spaces))
        lane = Lane(source, names[called // 2], spaces[inside] if called % 2 else "")
        counts.add(lane, Cells(seconds[mine], np.ones(end - begin, np.int64), deleted[mine]))
        begin = end


def _coded(column: pa.ChunkedArray) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The texts of a column, each once, and which of them each row has."""
    coded = column.combine_chunks().dictionary_encode()
    return coded.dictionary.to_pylist(), coded.indices.to_numpy().astype(np.int64)


def _namespaces(keys: pa.ChunkedArray) -> tuple[list[str], npt.NDArray[np.int64]]:
    texts, place = _coded(keys)
    found: dict[str, int] = {}
    code = np.array([found.setdefault(text.partition("/")[0], len(found)) for text in texts], np.int64)
    return list(found), code[place]
