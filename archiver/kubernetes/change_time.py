"""When a change of an object happened, by what the object says itself. Pure.

The API server gives no time to a change, but it writes some into objects: creationTimestamp, deletionTimestamp, and in managedFields when
each manager last changed something. They have whole seconds, and are of the API server's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from archiver.clock import from_text

_SECOND = 1_000_000

Metadata = Mapping[str, Any]


class ChangeTime(msgspec.Struct, frozen=True):
    """The change happened at ``since`` or later and before ``until``: microseconds since 1970, 0 where it is not told."""

    since: int = 0
    until: int = 0


def change_time(event: str, metadata: Metadata, before: Metadata | None) -> ChangeTime:
    """Of the change that led to ``metadata``. ``event``: as watches call it. ``before``: the object's metadata before it, ``None`` where
    that is not known.
    """
    created, deleted = _time(metadata.get("creationTimestamp")), _deletion(metadata)
    if event == "ADDED":
        return _within(created)
    managed = _managed(metadata)
    known = max([created, deleted, *managed.values()])
    if event == "DELETED" or before is None:
        return ChangeTime(known)
    if deleted and not _deletion(before):
        return _within(deleted)
    earlier = _managed(before)
    fresh = [time for manager, time in managed.items() if time > earlier.get(manager, 0)]
    return _within(max(fresh)) if fresh else ChangeTime(known)


def life_of(metadata: Metadata) -> tuple[int, int]:
    """When an object was created, and when its deletion was asked for; 0 where it does not say."""
    return _time(metadata.get("creationTimestamp")), _deletion(metadata)


def managers_of(metadata: Metadata) -> dict[tuple[str, ...], dict[str, Any]]:
    """Entries of managedFields by manager, operation, subresource and version of the API."""
    entries = metadata.get("managedFields")
    found = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    return {tuple(str(entry.get(key, "")) for key in ("manager", "operation", "subresource", "apiVersion")): entry for entry in found}


def _managed(metadata: Metadata) -> dict[tuple[str, ...], int]:
    return {manager: _time(entry.get("time")) for manager, entry in managers_of(metadata).items()}


def _deletion(metadata: Metadata) -> int:
    """When deletion was asked for: the timestamp says when it may be over."""
    over = _time(metadata.get("deletionTimestamp"))
    grace = metadata.get("deletionGracePeriodSeconds")
    return over - grace * _SECOND if over and isinstance(grace, int) else over


def _within(time: int) -> ChangeTime:
    return ChangeTime(time, time + _SECOND) if time else ChangeTime()


def _time(text: object) -> int:
    try:
        return max(0, from_text(text)) if isinstance(text, str) else 0
    except (ValueError, OverflowError):
        return 0
