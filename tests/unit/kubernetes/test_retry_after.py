"""A server that asks to be left alone is heeded, and not for ever."""

from __future__ import annotations

import pytest

from archiver.capture.kubernetes.failures import failure_of
from archiver.kubernetes.retry_after import MOST_SECONDS, of_header


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", 0.0), ("7", 7.0), ("99999999", MOST_SECONDS), ("9" * 400, MOST_SECONDS), ("\u00b2", 0.0), ("-5", 0.0), ("Wed, 21 Oct", 0.0)],
)
def test_a_header_is_heeded_within_a_bound(text: str, seconds: float) -> None:
    """Nothing that it may say waits longer, or is an error."""
    assert of_header(text) == seconds


def test_a_status_is_heeded_within_a_bound() -> None:
    """The same of what stands in the body."""
    for said, seconds in (("5", 5.0), ("1e300", MOST_SECONDS), ("-3", 1.0)):
        assert failure_of(429, b'{"details":{"retryAfterSeconds":%b}}' % said.encode()).retry_after == seconds
