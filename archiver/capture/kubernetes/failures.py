"""What an answer of the API server that is not 200, or an ERROR line, means for list and watch."""

from __future__ import annotations

from typing import Literal

import msgspec

from archiver.kubernetes import json_fields as kj
from archiver.kubernetes.retry_after import bounded
from archiver.untrusted import Unreadable

FailureKind = Literal["expired", "ahead", "throttled", "denied", "missing", "unavailable"]


class Failure(msgspec.Struct, frozen=True):
    """``expired``: the resourceVersion is no longer served (410, by status or in the stream). ``ahead``: it is newer than what the server
    has (504 with cause ResourceVersionTooLarge): a lagging server or a rewound cluster. ``throttled``: come back after ``retry_after``
    seconds. ``denied``: 401 or 403. ``missing``: 404. ``unavailable``: everything else.
    """

    kind: FailureKind
    message: str
    retry_after: float = 0.0


def failure_of(code: int, body: bytes, retry_after: float = 0.0) -> Failure:
    """Classify an HTTP status and its body, or an ERROR line's Status and its code. Messages carry the server's reason, never objects."""
    try:
        status = kj.status.decode(body)
    except Unreadable:
        status = kj.Status()
    code, reason = status.code or code, status.reason or ""
    causes = {cause.reason for cause in (status.details.causes or [])} if status.details else set()
    after = bounded(retry_after or (status.details.retry_after_seconds if status.details else 0.0))
    text = f"{code} {reason}".strip()
    if code == 410 or reason in ("Gone", "Expired"):
        return Failure("expired", text)
    message = status.message or ""
    # etcd's own words come where a list at exactly one resourceVersion is asked for.
    if "ResourceVersionTooLarge" in causes or "Too large resource version" in message or "is a future revision" in message:
        return Failure("ahead", text, after)
    if code == 429:
        return Failure("throttled", text, after or 1.0)
    if code in (401, 403):
        return Failure("denied", text)
    if code == 404:
        return Failure("missing", text)
    return Failure("unavailable", text, after)
