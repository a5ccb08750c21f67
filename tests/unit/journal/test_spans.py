"""Spans of segments."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from archiver.journal.spans import Span, merged

spans = st.tuples(st.integers(0, 30), st.integers(0, 6)).map(lambda pair: Span(pair[0], pair[0] + pair[1]))


@given(st.lists(spans))
def test_merging_keeps_every_segment_once(given_spans: list[Span]) -> None:
    """The same segments, each once, in order, in as few spans as possible."""
    found = merged(given_spans)
    segments = [segment for span in found for segment in range(span.first, span.last + 1)]
    assert segments == sorted({segment for span in given_spans for segment in range(span.first, span.last + 1)})
    assert all(later.first > earlier.last + 1 for earlier, later in pairwise(found))
