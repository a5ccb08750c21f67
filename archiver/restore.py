"""One restore of everything that an archive holds: one point, a plan for each source, then the plans carried out, database first.

The database comes first because it is one transaction; objects follow once it stands, so that no controller meets half a state.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import structlog

from archiver.clock import Clock, to_text
from archiver.errors import ArchiverError, Invalid, Refused
from archiver.journal.reader import Reader
from archiver.kubernetes.api import Api
from archiver.replay.kubernetes.leases import hold_leases
from archiver.replay.kubernetes.restore import Cut, Prepared, Scope, plan_cluster, restore_to_cluster
from archiver.replay.kubernetes.restore import FolderReport as ObjectsReport
from archiver.replay.kubernetes.restore import restore_to_folder as write_objects
from archiver.replay.kubernetes.to_cluster import ClusterReport
from archiver.replay.points import Point, parse_point, settle
from archiver.replay.postgres.plan.plan import RestorePlan, RestoreReport
from archiver.replay.postgres.plan.planner import plan_restore
from archiver.replay.postgres.write.to_database import look_at_target, restore_to_database
from archiver.replay.postgres.write.to_folder import restore_to_folder as write_rows
from archiver.replay.targets import Target, match

Progress = Callable[[str, int, int], None]

log = structlog.get_logger()


class Options(msgspec.Struct, frozen=True):
    """What the user allowed; see ``archiver restore --help``."""

    overwrite: bool = False
    allow_gaps: bool = False
    no_owner: bool = False
    into_source: bool = False
    kinds: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()
    pg_bin: str = ""
    leases: tuple[str, ...] = ()
    """``namespace/name`` of Leases in the target cluster, held while everything is restored, so that their controllers pause."""


class Planned(msgspec.Struct):
    """One source of a restore. Exactly one of ``database`` and ``cluster`` is set."""

    source: str
    target: Target | None
    database: RestorePlan | None = None
    cluster: Prepared | None = None
    server: Api | None = None
    in_the_way: list[str] = []
    """What a target database holds already of what the plan creates: replaced with ``overwrite``, refused without."""
    refusal: ArchiverError | None = None
    """Why the target cannot be restored into."""

    @property
    def moment(self) -> int:
        """Time of the last entry in use: of the commit, or when the object was received."""
        return self.database.point.time if self.database is not None else self.cluster.plan.observed if self.cluster is not None else 0

    def shown(self) -> dict[str, Any]:
        """For ``--json``."""
        plan = self.database if self.database is not None else self.cluster.plan if self.cluster is not None else None
        return {
            "source": self.source,
            "target": self.target.shown if self.target else None,
            "plan": plan,
            "in_the_way": self.in_the_way,
            "refusal": self.refusal.message if self.refusal is not None else None,
        }


class Plans(msgspec.Struct):
    """The whole restore."""

    at: str
    point: Point
    sources: list[Planned]

    @property
    def apart_seconds(self) -> float | None:
        """How far apart the last entries of the sources before the point lie; ``None`` for one source."""
        moments = [planned.moment for planned in self.sources if planned.moment]
        return (max(moments) - min(moments)) / 1e6 if len(moments) > 1 else None

    def shown(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"at": self.at, "apart_seconds": self.apart_seconds, "sources": [planned.shown() for planned in self.sources]}


class Done(msgspec.Struct):
    """What a restore of one source did."""

    source: str
    target: str
    report: RestoreReport | ClusterReport | ObjectsReport

    @property
    def problems(self) -> list[str]:
        """What was not taken by the target, or reads back otherwise than captured."""
        return [*self.report.failures, *self.report.differences] if isinstance(self.report, ClusterReport) else []


async def source_kinds(reader: Reader) -> dict[str, str]:
    """Every source of the archive and its kind. ``Invalid`` when the journal is empty."""
    tail = await reader.tail()
    if tail is None or not tail.sources:
        raise Invalid(f"the journal at {reader.store.url} holds no source yet", hint="start `archiver run` and wait for the first baseline")
    return {name.partition("/")[0]: "kubernetes" if "/" in name else "postgres" for name in sorted(tail.sources)}


async def make_plans(reader: Reader, at: str, targets: Sequence[str], wanted: Sequence[str], options: Options, clock: Clock) -> Plans:
    """Plan every source in ``wanted``; when that is empty, those that have a target, or without targets all. Changes nothing.

    Close the result with ``close_plans``. Raises ``Invalid``, ``HistoryLost`` and ``Refused`` as the planners do.
    """
    known = await source_kinds(reader)
    matched = match(targets, known, wanted)
    chosen = list(wanted) or [target.source for target in matched] or list(known)
    by_source = {target.source: target for target in matched}
    point = await settle(reader, parse_point(at))
    plans = Plans(at, point, [])
    try:
        for name in sorted(dict.fromkeys(chosen), key=lambda name: known[name] != "postgres"):
            planned = Planned(name, by_source.get(name))
            plans.sources.append(planned)
            if known[name] == "postgres":
                planned.database = await plan_restore(reader, reader.store, name, point)
                await _look(reader, planned, options)
            else:
                planned.server = await _open(planned.target, clock)
                planned.cluster = await plan_cluster(
                    reader,
                    name,
                    _cut(point, plans),
                    Scope(options.kinds, options.namespaces),
                    planned.server,
                    clock,
                    overwrite=options.overwrite,
                    into_source=options.into_source,
                )
    except BaseException:
        await close_plans(plans)
        raise
    return plans


async def carry_out(
    reader: Reader, plans: Plans, options: Options, clock: Clock, progress: Callable[[str], AbstractContextManager[Progress]]
) -> list[Done]:
    """Do what the plans say, in their order. Refusals and gaps of *all* plans are looked at before anything is touched."""
    _refuse(plans, options)
    servers = [planned.server for planned in plans.sources if planned.server is not None]
    if options.leases and not servers:
        raise Invalid(
            "a lease is held in the target cluster, and no target is one", hint="give --to kubeconfig:PATH, or leave the lease out"
        )
    async with AsyncExitStack() as stack:
        for server in servers if options.leases else ():
            await stack.enter_async_context(hold_leases(server, options.leases, clock))
        return [await _one(reader, planned, options, clock, progress) for planned in plans.sources]


async def _one(
    reader: Reader, planned: Planned, options: Options, clock: Clock, progress: Callable[[str], AbstractContextManager[Progress]]
) -> Done:
    target = planned.target
    assert target is not None
    with progress(planned.source) as shown:
        report: RestoreReport | ClusterReport | ObjectsReport
        if planned.database is not None and target.kind == "database":
            report = await restore_to_database(
                planned.database,
                reader,
                reader.store,
                target.value,
                overwrite=options.overwrite,
                no_owner=options.no_owner,
                allow_gaps=options.allow_gaps,
                pg_bin=options.pg_bin,
                progress=shown,
            )
        elif planned.database is not None:
            report = await write_rows(
                planned.database,
                reader,
                reader.store,
                Path(target.value),
                overwrite=options.overwrite,
                allow_gaps=options.allow_gaps,
                no_owner=options.no_owner,
                pg_bin=options.pg_bin,
                progress=shown,
            )
        elif planned.cluster is not None and planned.server is not None:
            report = await restore_to_cluster(planned.server, planned.cluster, clock, allow_gaps=options.allow_gaps, progress=shown)
        else:
            assert planned.cluster is not None
            report = write_objects(planned.cluster, Path(target.value), overwrite=options.overwrite, allow_gaps=options.allow_gaps)
    log.info("source_restored", source=planned.source, target=target.shown)
    return Done(planned.source, target.shown, report)


async def close_plans(plans: Plans) -> None:
    """Close the connections that planning opened."""
    for planned in plans.sources:
        if planned.server is not None:
            await planned.server.close()


async def _look(reader: Reader, planned: Planned, options: Options) -> None:
    """Look at a target database before anything is done, so that a plan already says what the restore would refuse or replace."""
    if planned.database is None or planned.target is None or planned.target.kind != "database":
        return
    try:
        planned.in_the_way = await look_at_target(
            planned.database, reader, planned.target.value, no_owner=options.no_owner, pg_bin=options.pg_bin
        )
    except ArchiverError as error:
        planned.refusal = error
        return
    if planned.in_the_way and not options.overwrite:
        planned.refusal = Refused(
            f"the target has {len(planned.in_the_way)} of the objects already that the restore creates, first {planned.in_the_way[0]}",
            hint="restore into an empty database, or replace what is there with --overwrite",
        )


def _refuse(plans: Plans, options: Options) -> None:
    for planned in plans.sources:
        if planned.target is None:
            raise Invalid(f"no target for source {planned.source}", hint="give --to, or --source to leave it out")
        folder = Path(planned.target.value)
        if planned.target.kind == "folder" and not options.overwrite and folder.is_dir() and any(folder.iterdir()):
            # Their writers refuse it too, but by then another source may be restored.
            raise Refused(f"{planned.source}: the folder {folder} is not empty", hint="name an empty one, or say --overwrite")
        if planned.refusal is not None:
            raise planned.refusal
        cluster = planned.cluster.plan if planned.cluster is not None else None
        if cluster is not None and cluster.refusals:
            more = f" (and {len(cluster.refusals) - 1} more; --dry-run lists them)" if len(cluster.refusals) > 1 else ""
            raise Refused(f"{planned.source}: {cluster.refusals[0]}{more}", hint="take an empty target, or say the option it names")
        gaps: Sequence[object] = cluster.gaps if cluster is not None else planned.database.gaps if planned.database is not None else ()
        if gaps and not options.allow_gaps:
            raise Refused(
                f"{planned.source}: the history up to this point has {len(gaps)} gap(s)",
                hint="--dry-run lists them; choose a point outside, or say --allow-gaps",
            )


def _cut(point: Point, plans: Plans) -> Cut:
    """The same place for objects: by time, by entry; an LSN means the entry of its transaction."""
    if point.kind == "time":
        return Cut(time=point.number)
    if point.kind == "entry":
        return Cut(seq=point.number)
    entries = [planned.database.point.entry for planned in plans.sources if planned.database is not None and planned.database.point.entry]
    if not entries:
        raise Invalid(f"{point.text!r} is a place in a database, not in a cluster", hint="give a time, an entry number, or `latest`")
    return Cut(seq=max(entries))


async def _open(target: Target | None, clock: Clock) -> Api | None:
    if target is None or target.kind != "cluster":
        return None
    path, _, context = target.value.removeprefix("kubeconfig:").partition("#")
    return await Api.open(clock, kubeconfig=os.path.expanduser(path), context=context)  # noqa: ASYNC240, PTH111 -- looks at HOME only


def summary(plans: Plans) -> Mapping[str, str]:
    """Facts about the restore as a whole, for people."""
    found = {"point": f"{plans.at} ({plans.point.kind})"}
    for planned in plans.sources:
        found[f"last entry of {planned.source}"] = to_text(planned.moment)
    if plans.apart_seconds is not None:
        found["apart"] = f"{plans.apart_seconds:.3f} s between the sources' last entries before the point"
    return found
