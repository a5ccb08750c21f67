"""What drills proved: objects ``drills/{time}.json`` beside the segments, so that the running archiver can show them.

One that found something wrong with the archive, or with what was restored, is ``failed-drills/{time}.json``: older programs take everything
under ``drills/`` for proof.

A drill of some sources proves nothing of the others. So each report names the newest reports of those others, as far as there were any when
it was recorded, and the newest one leads to all that count: however many drills there were, as many requests tell.
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
_ALL = ""
"""In place of a source."""
_DAY = 86_400_000_000
_LOOKED_BACK = (8 * _DAY, 64 * _DAY, 512 * _DAY)
"""Microseconds. Names are listed from so far back, one after the other, until there are some: never those of all years."""


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
    others: dict[str, str] = {}
    """By source the key of its newest report up to ``behind``, as far as it has one."""
    behind: str = ""
    """The newest key that there was when ``others`` was made: a report behind it may be newer than what that names. Empty: an older program
    recorded it, and reports before it must be read."""


async def record(store: Store, report: DrillReport) -> None:
    """Keep a report; durable on return. Raises ``Unavailable``."""
    prefix = PREFIX if report.passed else FAILED
    try:
        behind, others = await _known(_Reports(store, prefix), None, "", report.finished)
        report.behind, report.others = behind or prefix, {source: key for source, key in others.items() if source not in report.sources}
    except Corrupt:
        # Whoever reads it will be told.
        report.behind, report.others = "", {}
    await store.put_if_absent(f"{prefix}{report.finished:020d}.json", msgspec.json.encode(report))


async def newest(
    store: Store, sources: Iterable[str], after: str = "", *, prefix: str = PREFIX, now: int = 0
) -> tuple[str, dict[str, DrillReport]]:
    """The newest report of each of ``sources`` among those whose keys are behind ``after``: (the newest key, reports by source).

    A report that names none is about all: one that failed before it knew them. ``prefix``: ``FAILED`` for those that failed. ``now``: the
    time, so that names of long ago need not be listed; 0: they are. Raises ``Corrupt`` when one is no report, ``Unavailable``.
    """
    wanted, read = set(sources), _Reports(store, prefix)
    last, keys = await _known(read, wanted, after, now)
    of_all = keys.get(_ALL, "")
    newest_of = {source: key for source in sorted(wanted) if (key := max(keys.get(source, ""), of_all))}
    found = {source: await read.get(key) for source, key in newest_of.items()}
    return last or after, {source: report for source, report in found.items() if report is not None}


class _Reports:
    """Those of one question, each read once."""

    def __init__(self, store: Store, prefix: str) -> None:
        self.store, self.prefix = store, prefix
        self._read: dict[str, DrillReport | None] = {}

    async def get(self, key: str) -> DrillReport | None:
        """``None``: there is none. Raises ``Corrupt``."""
        if key not in self._read:
            data = await self.store.get(key, 0, _MOST_BYTES)
            try:
                self._read[key] = decode_untrusted(data, DrillReport, most=_MOST_BYTES) if data is not None else None
            except Unreadable as error:
                raise Corrupt(f"{key} of {self.store.url} is not a report of a drill: {error}", hint="move it away") from None
        return self._read[key]


async def _known(reports: _Reports, wanted: set[str] | None, after: str, now: int) -> tuple[str, dict[str, str]]:
    """The newest key behind ``after``, empty for none, and by source the key of its newest report there; under ``_ALL`` of the newest about
    all of them. ``wanted``: sources that must be among them if they have one; ``None``: all.
    """
    prefix = reports.prefix
    last, upper, floor = "", "", after
    found: dict[str, str] = {}
    told: dict[str, str] = {}
    starts = [f"{prefix}{now - back:020d}" for back in _LOOKED_BACK if now > back]
    for start in (*(start for start in starts if start > after), after):
        keys = await reports.store.list(prefix, start)
        last = max([last, *keys])
        for key in reversed(keys):
            if (upper and key > upper) or key <= floor or _ALL in found or (wanted is not None and wanted <= found.keys()):
                continue
            report = await reports.get(key)
            if report is None:
                continue
            named = report.sources or ([_ALL] if prefix == FAILED else [])
            found |= {source: key for source in named if source not in found}
            if report.behind < key:
                floor = max(floor, report.behind)
                others = {source: other for source, other in report.others.items() if prefix < other <= report.behind}
                told |= {source: other for source, other in others.items() if other > max(told.get(source, ""), after)}
        upper = start
        # Of what stands before, it is told which counts.
        if _ALL in found or (found and floor >= start) or (wanted is not None and wanted <= found.keys()):
            break
    return last, {source: max(found.get(source, ""), told.get(source, "")) for source in found.keys() | told.keys()}
