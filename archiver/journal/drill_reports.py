"""What drills proved: objects ``drills/{time}.json`` beside the segments, so that the running archiver can show them.

One that found something wrong with the archive, or with what was restored, is ``failed-drills/{time}.json``: older programs take everything
under ``drills/`` for proof.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from archiver.errors import Corrupt
from archiver.store.protocol import Store
from archiver.untrusted import Unreadable, decode_untrusted

PREFIX = "drills/"
FAILED = "failed-drills/"
_MOST_BYTES = 1 << 24
"""What is read of a report, at most."""


class Step(msgspec.Struct):
    """One step of a drill."""

    name: str
    seconds: float = 0.0
    ok: bool = False
    detail: str = ""
    exit_code: int = 0
    """Of the error that ended it (``archiver.errors``); 0: none."""


class AssertionOutcome(msgspec.Struct, frozen=True):
    """Whether what the owner of a source expects of it holds."""

    name: str
    source: str
    holds: bool
    expected: str
    found: str
    """The value that was asked for, or why there is none; cut where it is long."""


class DrillReport(msgspec.Struct):
    """What a drill did. Times are microseconds since 1970."""

    at: str
    started: int
    finished: int = 0
    passed: bool = False
    point: int = 0
    """The oldest of the sources' last entries in use: up to then everything is proven."""
    restore_seconds: float = 0.0
    """Planning and restoring, without ``verify``: the measured RTO."""
    steps: list[Step] = []
    sources: list[str] = []
    doubts: list[str] = []
    """What was not certain of the states that were restored."""
    assertions: list[AssertionOutcome] = []


async def record(store: Store, report: DrillReport) -> None:
    """Keep a report; durable on return. Raises ``Unavailable``."""
    await store.put_if_absent(f"{PREFIX if report.passed else FAILED}{report.finished:020d}.json", msgspec.json.encode(report))


async def newest(store: Store, sources: Iterable[str], after: str = "", *, prefix: str = PREFIX) -> tuple[str, dict[str, DrillReport]]:
    """The newest report of each of ``sources`` among those whose keys are behind ``after``: (the newest key, reports by source).

    A drill of some sources proves nothing of the others, so reports are read back until every source has one. A report that names none is
    about all: one that failed before it knew them. ``prefix``: ``FAILED`` for those that failed. Raises ``Corrupt`` when one is no report,
    ``Unavailable``.
    """
    keys = await store.list(prefix, after)
    missing, found = set(sources), dict[str, DrillReport]()
    for key in reversed(keys):
        data = await store.get(key, 0, _MOST_BYTES) if missing else None
        if data is None:
            continue
        try:
            report = decode_untrusted(data, DrillReport, most=_MOST_BYTES)
        except Unreadable as error:
            raise Corrupt(f"{key} of {store.url} is not a report of a drill: {error}", hint="move it away") from None
        named = missing.intersection(report.sources) if report.sources or prefix == PREFIX else set(missing)
        found |= dict.fromkeys(named, report)
        missing -= named
    return (keys[-1] if keys else after), found
