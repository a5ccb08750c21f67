"""Whether our slot is kept on standbys, so that history goes on after a failover; and when that would stop the source. Pure.

A slot made with FAILOVER (17 and newer) is copied by every standby with ``sync_replication_slots``. Its walsender also waits for the
physical slots in ``synchronized_standby_slots``, so that the journal never has what a promoted standby does not. That wait is harm where
commits wait for us in turn: once the standby is gone they wait for ever, and no list of names helps (measured: FIRST 1 has no fallback but
the standby that is gone).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

SINCE = 170000
"""First server version with slots that survive a failover."""

_METHOD = re.compile(r"\s*(?:(?:FIRST|ANY)\s+)?\d+\s*\((.*)\)\s*", re.IGNORECASE | re.DOTALL)
_NAME = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",\s]+))\s*(?:,|$)')


def listed(setting: str) -> list[str]:
    """The names in a list such as ``synchronous_standby_names``: with or without a method in front, quoted or not."""
    inside = _METHOD.fullmatch(setting)
    found = _NAME.findall(inside[1] if inside else setting)
    return [quoted.replace('""', '"') if quoted else plain for quoted, plain in found]


def commits_wait_for(name: str, synchronous_standby_names: str) -> bool:
    """Whether a standby that calls itself ``name`` is among those that commits wait for. ``*`` is every name; case does not matter."""
    return any(each in ("*", name) or each.lower() == name.lower() for each in listed(synchronous_standby_names))


def can_hang(slot: str, *, synchronous_standby_names: str, synchronized_standby_slots: str) -> bool:
    """Whether commits would wait for us while we, with FAILOVER, wait for a standby."""
    return bool(listed(synchronized_standby_slots)) and commits_wait_for(slot, synchronous_standby_names)


def wants_failover(server_version: int, slot: str, *, synchronous_standby_names: str, synchronized_standby_slots: str) -> bool:
    """Whether the slot is to have FAILOVER: wherever the server knows it, unless commits could hang. Without standbys it costs nothing."""
    return server_version >= SINCE and not can_hang(
        slot, synchronous_standby_names=synchronous_standby_names, synchronized_standby_slots=synchronized_standby_slots
    )


def unread(synchronized_standby_slots: str, read: Sequence[str]) -> list[str]:
    """Slots that a stream with FAILOVER waits for although nobody reads them. ``read``: slots with a reader."""
    return [name for name in listed(synchronized_standby_slots) if name not in read]
