"""What answers of an API server mean."""

from __future__ import annotations

import json
from typing import Any

import pytest

from archiver.capture.kubernetes.failures import FailureKind, failure_of

TOO_LARGE = {"reason": "Timeout", "code": 504, "details": {"causes": [{"reason": "ResourceVersionTooLarge"}], "retryAfterSeconds": 1}}


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        (410, {}, "expired"),
        (0, {"code": 410, "reason": "Gone"}, "expired"),
        (200, {"reason": "Expired"}, "expired"),
        (504, TOO_LARGE, "ahead"),
        (504, {"message": "Too large resource version: 9, current: 5"}, "ahead"),
        (504, {"reason": "Timeout"}, "unavailable"),
        (429, {}, "throttled"),
        (401, {}, "denied"),
        (403, {"reason": "Forbidden"}, "denied"),
        (404, {}, "missing"),
        (500, {}, "unavailable"),
    ],
)
def test_a_failure_is_what_must_be_done_about_it(code: int, status: dict[str, Any], kind: FailureKind) -> None:
    """By status, reason or cause, wherever the server puts them."""
    assert failure_of(code, json.dumps(status).encode()).kind == kind


def test_a_body_that_is_no_status_leaves_the_code() -> None:
    """A proxy's page is not quoted."""
    failure = failure_of(503, b"<html>secret</html>", 7)
    assert (failure.kind, failure.message, failure.retry_after) == ("unavailable", "503", 7)


def test_a_throttled_client_always_waits() -> None:
    """As long as the server says, a second where it does not."""
    assert failure_of(429, b"", 0).retry_after == 1
    assert failure_of(429, json.dumps({"details": {"retryAfterSeconds": 5}}).encode()).retry_after == 5
