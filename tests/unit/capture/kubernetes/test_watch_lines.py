"""Splitting a watch response into lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.capture.kubernetes.watch_lines import LineSplitter, TooLong


@given(st.lists(st.binary(min_size=1, max_size=20).map(lambda line: line.replace(b"\n", b".")), max_size=10), st.data())
def test_any_cutting_gives_the_same_lines(lines: list[bytes], data: st.DataObject) -> None:
    """However the bytes are cut into chunks, the complete lines come out whole and in order, and what has no end does not."""
    stream = b"".join(line + b"\n" for line in lines) + b"unfinished"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    splitter = LineSplitter(1000)
    found = [line for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True) for line in splitter.feed(stream[start:end])]
    assert found == lines
    assert splitter.feed(b"\n") == [b"unfinished"]


def test_a_line_of_many_megabytes_in_small_chunks() -> None:
    """Joining costs no more than the line is long; a line that never ends is given up at its bound, and a long one before it is none."""
    splitter = LineSplitter(20_000_000)
    for _ in range(2):
        for _ in range(20_000):
            assert splitter.feed(b"x" * 1000) == []
        (line,) = splitter.feed(b"\n")
        assert len(line) == 20_000_000
    splitter.feed(b"x" * 20_000_000)
    with pytest.raises(TooLong, match="19 MiB"):
        splitter.feed(b"x")
