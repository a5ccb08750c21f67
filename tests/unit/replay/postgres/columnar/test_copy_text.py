"""COPY text, many rows at once, against one value at a time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.errors import Corrupt
from archiver.replay.postgres.columnar.copy_text import Picked, assemble, blocks, escape, escape_all, split_columns, split_lines, unescape
from archiver.replay.postgres.columnar.values import NULL, UNCHANGED, VALUE

VALUES = st.binary(max_size=12).map(lambda value: value.replace(b"\0", b"")) | st.sampled_from(
    [b"\\N", b"\\", b"\t", b"\n", b"N", b"U", b"\\U", b""]
)
CELLS = VALUES | st.none() | st.just("unchanged")
TABLES = st.integers(0, 4).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), max_size=6))


def test_escape_is_that_of_copy_to() -> None:
    """Backslash and the seven control characters with a code of their own, nothing else."""
    assert escape(b"a\\b\tc\nd\re\bf\vg\fh\x01") == b"a\\\\b\\tc\\nd\\re\\bf\\vg\\fh\x01"


@given(value=VALUES)
def test_unescape_undoes_escape(value: bytes) -> None:
    """Every value comes back; NULL is told apart from the text backslash-N."""
    assert unescape(bytes(escape(value))) == value


@pytest.mark.parametrize(("text", "value"), [(b"\\N", None), (b"\\x41\\101\\.", b"AA."), (b"\\q", b"q"), (b"\\xg", b"xg")])
def test_unescape_reads_what_copy_from_reads(text: bytes, value: bytes | None) -> None:
    """Octal and hexadecimal codes, and any other character after a backslash stands for itself."""
    assert unescape(text) == value


@given(values=st.lists(VALUES, max_size=8))
def test_escape_all_equals_one_by_one(values: list[bytes]) -> None:
    """Values end to end are escaped as each alone."""
    text = np.frombuffer(b"".join(values), np.uint8)
    offsets = np.cumsum([0, *map(len, values)])
    out, places = escape_all(text, offsets)
    assert [out[begin:end].tobytes() for begin, end in itertools.pairwise(places)] == [bytes(escape(value)) for value in values]


@given(rows=TABLES, data=st.data())
def test_assemble_and_split_are_inverse(rows: list[list[bytes | str | None]], data: st.DataObject) -> None:
    """Lines of any cells, picked in any order, hold these cells escaped, and are found again by position."""
    width = len(rows[0]) if rows else 2
    buffer, starts, ends, kinds = bytearray(), [], [], []
    for row in rows:
        for cell in row:
            starts.append(len(buffer))
            buffer += cell if isinstance(cell, bytes) else b""
            ends.append(len(buffer))
            buffer += b"w"
            kinds.append(NULL if cell is None else VALUE if isinstance(cell, bytes) else UNCHANGED)
    order = data.draw(st.permutations(range(len(rows))))
    index = np.arange(len(rows) * width).reshape(len(rows), width)[list(order)] if rows else np.zeros((0, width), np.int64)
    flat = np.array(kinds, np.uint8)
    picked = Picked(
        np.frombuffer(bytes(buffer) + b"wwwwwwww", np.uint8),
        np.array(starts, np.int64),
        np.array(ends, np.int64),
        index,
        flat[index].reshape(index.shape),
    )
    lines = assemble(picked, escaped=False)
    tokens = {"unchanged": b"\\U", None: b"\\N"}
    want = [
        b"\t".join(bytes(escape(cell)) if isinstance(cell, bytes) else tokens[cell] for cell in rows[place]) + b"\n" for place in order
    ]  # fmt: skip
    assert lines.text.tobytes() == b"".join(want)
    assert [lines.text[begin:end].tobytes() for begin, end in zip(lines.offsets[:-1], lines.offsets[1:], strict=True)] == want
    found = split_columns(lines.text, width)
    assert found.kinds.tolist() == flat[index].reshape(index.shape).tolist()
    again = assemble(
        Picked(lines.text, found.starts.ravel(), found.ends.ravel(), np.arange(found.starts.size).reshape(found.starts.shape), found.kinds),
        escaped=True,
    )
    assert again.text.tobytes() == lines.text.tobytes()


@pytest.mark.parametrize("text", [b"a", b"a\tb\tc\n", b"a\n", b"a\tb\nc\td", b"a\nb\t\n"])
def test_rows_of_another_width_are_corrupt(text: bytes) -> None:
    """A row that is cut or has more or fewer columns is refused."""
    with pytest.raises(Corrupt):
        split_columns(np.frombuffer(text, np.uint8), 2)


def test_cut_lines_are_corrupt() -> None:
    """The last line must end."""
    with pytest.raises(Corrupt):
        split_lines(b"a\nb")


@given(lines=st.lists(st.integers(0, 20), max_size=20), size=st.integers(1, 50))
def test_blocks_are_whole_rows(lines: list[int], size: int) -> None:
    """Blocks together are the text, and each ends with a line."""
    text = b"".join(b"x" * length + b"\n" for length in lines)
    found = [block.tobytes() for block in blocks(text, size)]
    assert b"".join(found) == text
    assert all(block.endswith(b"\n") for block in found)
