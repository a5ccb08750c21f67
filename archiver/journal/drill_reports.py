"""What drills proved: objects ``drills/{time}.json`` beside the segments, so that the running archiver can show them.

One that found something wrong with the archive, or with what was restored, is ``failed-drills/{time}.json``: older programs take everything
under ``drills/`` for proof.

A drill of some sources proves nothing of the others. So each report names the newest reports of those others, as far as there were any when
an hour before it ended, and the newest one leads to all that count: however many drills there were, as many requests tell, and one for each
of the last hour. So a report counts that is put up to an hour late, by a slow store or a clock that lags.
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
LATE = 3_600_000_000
"""Microseconds. Reports may be put so long after newer ones."""
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
    """The newest key that is older than this report by ``LATE``: a report behind it may be newer than what ``others`` names. Empty: an
    older program recorded it, and reports before it must be read."""


async def record(store: Store, report: DrillReport) -> None:
    """Keep a report; durable on return. Raises ``Unavailable``."""
    prefix = PREFIX if report.passed else FAILED
    try:
        read, until = _Reports(store, prefix), f"{prefix}{max(0, report.finished - LATE):020d}"
        behind, told = await _known(read, None, "", report.finished, until=until)
        others = await _checked(read, told, "", report.finished, until=until)
        report.behind, report.others = behind or prefix, {source: key for source, key in others.items() if source not in report.sources}
    except Corrupt:
        # Whoever reads it will be told.
        report.behind, report.others = "", {}
    await store.put_if_absent(f"{prefix}{report.finished:020d}.json", msgspec.json.encode(report))


async def newest(
    store: Store, sources: Iterable[str], after: str = "", *, prefix: str = PREFIX, now: int = 0
) -> tuple[str, dict[str, DrillReport]]:
    """The newest report of each of ``sources`` among those whose keys are behind ``after``, or older by ``LATE`` at most: (the newest key,
    reports by source). So whoever goes on from the newest key meets those of the last hour again, and what was put late.

    A report that names none is about all: one that failed before it knew them. ``prefix``: ``FAILED`` for those that failed. ``now``: the
    time, so that names of long ago need not be listed; 0: they are. Raises ``Corrupt`` when one is no report, ``Unavailable``.
    """
    wanted, read = set(sources), _Reports(store, prefix)
    begin = _earlier(after, prefix)
    last, told = await _known(read, wanted, begin, now)
    keys = await _checked(read, {source: key for source, key in told.items() if source in wanted or source == _ALL}, begin, now)
    of_all = keys.get(_ALL, "")
    newest_of = {source: key for source in sorted(wanted) if (key := max(keys.get(source, ""), of_all))}
    found = {source: await read.get(key) for source, key in newest_of.items()}
    return last or after, {source: report for source, report in found.items() if report is not None}


def _earlier(key: str, prefix: str) -> str:
    """Behind which a report stands that is put as late as may be once ``key`` was the newest."""
    time = key.removeprefix(prefix).removesuffix(".json")
    return f"{prefix}{max(0, int(time) - LATE):020d}" if time.isascii() and time.isdigit() and len(time) <= 20 else ""


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


async def _checked(reports: _Reports, keys: dict[str, str], after: str, now: int, *, until: str = "") -> dict[str, str]:
    """``keys`` as of ``_known``; where another report names one that is not about that source, what is found without believing any."""
    found = dict[str, str]()
    for source, key in keys.items():
        report = await reports.get(key)
        if report is None or source in _named(report, reports.prefix):
            found[source] = key
            continue
        _, known = await _known(reports, {source}, after, now, until=until, believed=False)
        found |= {source: known[source]} if source in known else {}
    return found


def _named(report: DrillReport, prefix: str) -> list[str]:
    """What it is about."""
    return report.sources or ([_ALL] if prefix == FAILED else [])


async def _known(
    reports: _Reports, wanted: set[str] | None, after: str, now: int, *, until: str = "", believed: bool = True
) -> tuple[str, dict[str, str]]:
    """The newest key behind ``after``, empty for none, and by source the key of its newest report there; under ``_ALL`` of the newest about
    all of them. ``wanted``: sources that must be among them if they have one; ``None``: all. ``until``: of keys behind it, nothing is told;
    empty: of all it is. ``believed``: whether what reports name is; else all are read.
    """
    prefix = reports.prefix
    last, upper, floor = "", "", after
    found: dict[str, str] = {}
    told: dict[str, str] = {}
    starts = [f"{prefix}{now - back:020d}" for back in _LOOKED_BACK if now > back]
    for start in (*(start for start in starts if start > after), after):
        keys = [key for key in await reports.store.list(prefix, start) if not until or key <= until]
        last = max([last, *keys])
        for key in reversed(keys):
            if (upper and key > upper) or key <= floor or _ALL in found or (wanted is not None and wanted <= found.keys()):
                continue
            report = await reports.get(key)
            if report is None:
                continue
            found |= {source: key for source in _named(report, prefix) if source not in found}
            if believed and report.behind < key:
                floor = max(floor, report.behind)
                others = {source: other for source, other in report.others.items() if prefix < other <= report.behind}
                told |= {source: other for source, other in others.items() if other > max(told.get(source, ""), after)}
        upper = start
        # Of what stands before, it is told which counts.
        if _ALL in found or (found and floor >= start) or (wanted is not None and wanted <= found.keys()):
            break
    return last, {source: max(found.get(source, ""), told.get(source, "")) for source in found.keys() | told.keys()}
