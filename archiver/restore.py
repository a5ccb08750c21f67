"""One restore of everything that an archive holds: one point, a plan for each source, then the plans carried out, database first.

The database comes first because it is one transaction; objects follow once it stands, so that no controller meets half a state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import structlog

from archiver import disk
from archiver.clock import Clock, duration_text, to_local_text, to_text
from archiver.errors import Invalid, Partial, Refused
from archiver.journal.reader import Reader
from archiver.postgres.captured_systems import newest_system
from archiver.replay.fitting import require_fitting
from archiver.replay.kubernetes.restore import Cut, plan_objects
from archiver.replay.points import NotReached, Point, parse_point, resolve
from archiver.replay.postgres.restore import plan_database
from archiver.replay.restoration import Options, Progress, Report, Restoration, require_whole
from archiver.replay.targets import Target, match

"""That a refusal has room for."""
WAIT_PAUSE_SECONDS = 1.0
"""Between two looks at whether the journal has reached a point."""

log = structlog.get_logger()


class Plans(msgspec.Struct):
    """The whole restore."""

    at: str
    point: Point
    sources: list[Restoration]
    made: int = 0
    """When they were made."""

    @property
    def apart_seconds(self) -> float | None:
        """How far apart the last entries of the sources before the point lie; ``None`` for one source."""
        moments = [planned.moment for planned in self.sources if planned.moment]
        return (max(moments) - min(moments)) / 1e6 if len(moments) > 1 else None

    @property
    def moment(self) -> int:
        """The point as a time: the one that was asked for, else that of the last entry in use."""
        return self.point.number if self.point.kind == "time" else max((planned.moment for planned in self.sources), default=0)

    @property
    def age_seconds(self) -> float | None:
        """How long before the plan the point lies; ``None`` when its time is not known."""
        return (self.made - self.moment) / 1e6 if self.moment else None

    def where(self) -> dict[str, Any]:
        """The point for ``--json``: in UTC, in this machine's zone, and its age."""
        return {
            "asked": self.at,
            "kind": self.point.kind,
            "utc": to_text(self.moment),
            "local": to_local_text(self.moment),
            "age_seconds": self.age_seconds,
        }

    def shown(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "at": self.at,
            "point": self.where(),
            "apart_seconds": self.apart_seconds,
            "sources": [_shown(planned) for planned in self.sources],
        }


class RestoredSource(msgspec.Struct):
    """What a restore of one source did."""

    source: str
    target: str
    report: Report
    doubts: list[str] = []
    """What is not certain of the state that was restored."""

    @property
    def problems(self) -> list[str]:
        """What was not taken by the target, or reads back otherwise than captured."""
        return self.report.problems


async def source_kinds(reader: Reader) -> dict[str, str]:
    """Every source of the archive and its kind. ``Invalid`` when the journal is empty."""
    tail = await reader.tail()
    if tail is None or not tail.sources:
        raise Invalid(f"the journal at {reader.store.url} holds no source yet", hint="start `archiver run` and wait for the first baseline")
    return {name.partition("/")[0]: "kubernetes" if "/" in name else "postgres" for name in sorted(tail.sources)}


async def make_plans(reader: Reader, at: str, targets: Sequence[str], wanted: Sequence[str], options: Options, clock: Clock) -> Plans:
    """Plan every source in ``wanted``; when that is empty, those that have a target, or without targets all. Changes nothing.

    Close the result with ``close_plans``. Raises ``Invalid``, ``HistoryLost`` and ``Refused`` as the planners do; ``Invalid`` too for an
    LSN of databases that are on different servers, and for an option that none of the sources has a use for.
    """
    known = await source_kinds(reader)
    if options.excerpt is not None:
        known = _one_database(known, wanted, targets)
    matched = match(targets, known, wanted)
    for each in matched:
        if each.kind == "folder":
            require_apart(Path(each.value), reader.store.url, f"{each.source}: the folder")
    chosen = list(wanted) or [target.source for target in matched] or list(known)
    by_source = {target.source: target for target in matched}
    require_fitting(options.said, {name: known[name] for name in chosen}, matched)
    point = await resolve(reader, parse_point(at))
    if point.kind == "lsn":
        await _require_one_server(reader, point, [name for name in dict.fromkeys(chosen) if known[name] == "postgres"])
    plans = Plans(at, point, [], clock.now())
    try:
        for name in sorted(dict.fromkeys(chosen), key=lambda name: known[name] != "postgres"):
            target = by_source.get(name)
            if known[name] == "postgres":
                plans.sources.append(await plan_database(reader, name, target, point, options))
            else:
                plans.sources.append(await plan_objects(reader, name, target, _cut(point, plans), options, clock))
    except BaseException:
        await close_plans(plans)
        raise
    return plans


def _one_database(known: Mapping[str, str], wanted: Sequence[str], targets: Sequence[str]) -> dict[str, str]:
    """The database that an excerpt is of, as the only source. ``Invalid`` when it could be several, or is none."""
    named = [name for name in wanted if name in known] or [name for name in known if any(text.startswith(f"{name}=") for text in targets)]
    found = [name for name, kind in known.items() if kind == "postgres" and (not named or name in named)]
    if len(found) != 1 or len(named) > 1:
        raise Invalid(
            f"tables are of one database, and the archive has {', '.join(found) or 'none that fits'}",
            hint="name the database that they are of with --source",
        )
    return {found[0]: "postgres"}


def require_apart(path: Path, archive: str, what: str) -> None:
    """Refuse a ``path`` in the archive: what is written there would stand among its objects, and may replace some. ``what`` it is."""
    place = urlsplit(archive)
    if place.scheme != "file":
        return
    root, found = Path(unquote(place.path)).resolve(), path.resolve()
    if root == found or root in found.parents:
        raise Refused(f"{what} {found} lies in the archive itself, {archive}", hint="name a place outside of it")


async def _require_one_server(reader: Reader, point: Point, databases: Sequence[str]) -> None:
    """Refuse an LSN for databases of different servers: in each it would be another moment."""
    systems = {name: await newest_system(reader, name) for name in databases}
    if len({system for system in systems.values() if system}) > 1:
        told = ", ".join(f"{name} (system {system or 'not known'})" for name, system in systems.items())
        raise Invalid(
            f"the LSN {point.text} is a place in the log of one server, and these databases are of different ones: {told}",
            hint=f"choose one with --source {databases[0]}, or name a point of all: --at TIME, an entry number, `latest`",
        )


async def make_plans_once_reached(
    reader: Reader, at: str, targets: Sequence[str], wanted: Sequence[str], options: Options, clock: Clock, *, wait_seconds: float
) -> Plans:
    """``make_plans``, tried again for ``wait_seconds`` while the journal has not reached the point."""
    until = clock.monotonic() + wait_seconds
    while True:
        try:
            return await make_plans(reader, at, targets, wanted, options, clock)
        except NotReached:
            left = until - clock.monotonic()
            if left <= 0:
                raise
            await clock.sleep(min(WAIT_PAUSE_SECONDS, left))


async def carry_out(plans: Plans, options: Options, progress: Callable[[str], AbstractContextManager[Progress]]) -> list[RestoredSource]:
    """Do what the plans say, in their order. Refusals and gaps of *all* plans are looked at before anything is touched.

    Raises as they do; ``Partial`` for what one refuses after another one was carried out.
    """
    targets = permitted(plans, options)
    pauses = [pause for planned in plans.sources if (pause := planned.pause()) is not None]
    async with AsyncExitStack() as stack:
        for pause in pauses if options.leases else ():
            await stack.enter_async_context(pause)
        done: list[RestoredSource] = []
        for planned, target in zip(plans.sources, targets, strict=True):
            # Into a database, what is written to a disk is what was put aside.
            place = target.value if target.kind == "folder" else disk.temporary_folder()
            with _named(done), progress(planned.source) as shown, disk.errors("write what is restored", place):
                report = await planned.carry_out(shown)
            log.info("source_restored", source=planned.source, target=target.shown)
            done.append(RestoredSource(planned.source, target.shown, report, planned.doubts))
        return done


@contextmanager
def _named(done: list[RestoredSource]) -> Iterator[None]:
    """Refusals mean that nothing was touched; once something is ``done`` they name it instead."""
    try:
        yield
    except (Invalid, Refused) as error:
        if not done:
            raise
        before = ", ".join(f"{each.source} is restored ({each.target})" for each in done)
        hints = [*([error.hint] if error.hint else []), "restore alone what is missing, with --source"]
        raise Partial(f"{before}, but then {error.message}", hint="; then ".join(hints)) from None


def permitted(plans: Plans, options: Options) -> list[Target]:
    """The target of each plan, if all may be carried out; else why not, as an error. Every source has a target."""
    return [_permitted(planned, options) for planned in plans.sources]


async def close_plans(plans: Plans) -> None:
    """Close the connections that planning opened."""
    for planned in plans.sources:
        await planned.close()


def _shown(planned: Restoration) -> dict[str, Any]:
    return {
        "source": planned.source,
        "target": planned.target.shown if planned.target else None,
        "doubts": planned.doubts,
        **planned.shown(),
    }


def _permitted(planned: Restoration, options: Options) -> Target:
    """Its target, if it may be carried out. The only place on a command's way that judges refusals and gaps."""
    source, target = planned.source, planned.target
    if target is None:
        raise Invalid(f"no target for source {source}", hint="give --to, or --source to leave it out")
    folder = Path(target.value)
    if target.kind == "folder" and not options.overwrite and folder.is_dir() and any(folder.iterdir()):
        # Their writers refuse it too, but by then another source may be restored.
        raise Refused(f"{source}: the folder {folder} is not empty", hint="name an empty one, or say --overwrite")
    if planned.refusal is not None:
        raise planned.refusal
    require_whole(
        planned.gaps,
        where=f"{source}: the history up to this point",
        allowed=options.allow_gaps,
        hint="--dry-run lists them; choose a point outside, or say --allow-gaps",
    )
    return target


def _cut(point: Point, plans: Plans) -> Cut:
    """The same place for objects: by time, by entry; an LSN means the entry of its transaction, so databases are planned first."""
    entries = [planned.entry for planned in plans.sources if planned.entry]
    if point.kind in ("time", "entry") or not entries:
        return Cut.at(point)
    return Cut(seq=max(entries))


def summary(plans: Plans) -> Mapping[str, str]:
    """Facts about the restore as a whole, for people."""
    found = {
        "point": f"{plans.at} ({plans.point.kind})",
        "in UTC": to_text(plans.moment),
        "here": to_local_text(plans.moment),
        "age": "-" if plans.age_seconds is None else duration_text(plans.age_seconds),
    }
    for planned in plans.sources:
        found[f"last entry of {planned.source}"] = to_text(planned.moment)
    if plans.apart_seconds is not None:
        found["apart"] = f"{plans.apart_seconds:.3f} s between the sources' last entries before the point"
    return found
