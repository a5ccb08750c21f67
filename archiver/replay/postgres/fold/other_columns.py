"""Rows of a COPY text, written with other columns than they were read with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from archiver.replay.postgres.columnar.copy_text import Picked, assemble, split_columns
from archiver.replay.postgres.columnar.values import NULL, UNCHANGED, VALUE
from archiver.replay.postgres.fold.keyed_rows import Missing
from archiver.replay.postgres.fold.passes import CopyText

U8 = npt.NDArray[np.uint8]


def convert(rows: CopyText, attnums: tuple[int, ...], missing: Missing) -> U8:
    """The same rows with other columns; those that they lack are filled from ``missing``, or NULL."""
    if rows.attnums == attnums:
        return rows.text
    found = split_columns(rows.text, len(rows.attnums))
    wanted = [rows.attnums.index(attnum) if attnum in rows.attnums else -1 for attnum in attnums]
    count, width = found.kinds.shape
    constants = [missing.get(attnum) if place < 0 else None for attnum, place in zip(attnums, wanted, strict=True)]
    text, starts, ends = rows.text, found.starts.ravel(), found.ends.ravel()
    pick = np.zeros((count, len(attnums)), np.int64)
    kinds = np.full((count, len(attnums)), NULL, np.uint8)
    for column, (place, constant) in enumerate(zip(wanted, constants, strict=True)):
        if place >= 0:
            pick[:, column] = np.arange(place, count * width, width, dtype=np.int64)
            kinds[:, column] = found.kinds[:, place]
        elif constant is not None:
            pick[:, column] = len(starts)
            kinds[:, column] = VALUE
            starts, ends = np.append(starts, len(text)), np.append(ends, len(text) + len(constant))
            text = np.concatenate([text, np.frombuffer(constant + b"\n", np.uint8)])
    kinds[kinds == UNCHANGED] = NULL
    return assemble(Picked(text, starts, ends, pick, kinds), escaped=True).text
