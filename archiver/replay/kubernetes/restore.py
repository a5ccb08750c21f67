"""Journal -> plan -> API server or folder: the way in for commands. A plan is made first, can be shown, and is what runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from archiver import __version__
from archiver.errors import Invalid, Refused
from archiver.kubernetes.captured_clusters import CapturedCluster, named_clusters
from archiver.kubernetes.cluster import Cluster, identify
from archiver.replay.kubernetes.additions import add_deletions, listed_resources
from archiver.replay.kubernetes.fold import place_of, read_streams
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.replay.kubernetes.leases import hold_leases
from archiver.replay.kubernetes.living_leases import living_leases
from archiver.replay.kubernetes.manifests import Manifest
from archiver.replay.kubernetes.patient_api import PatientApi
from archiver.replay.kubernetes.plan import ClusterPlan, Mode, make_plan
from archiver.replay.kubernetes.plan_file import FORMAT, VERSION, Choices, PlanFile, departures, planned_objects, told
from archiver.replay.kubernetes.rehearsal import rehearse
from archiver.replay.kubernetes.selection import DEFINITIONS, Key, Objects, RestoreScope, Selection, select
from archiver.replay.kubernetes.target_objects import live_objects, living_owners, unusable_namespaces
from archiver.replay.kubernetes.to_cluster import Before, ClusterReport, Progress, Restorer
from archiver.replay.kubernetes.to_folder import FolderReport, write_folder

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.journal.reader import Reader
    from archiver.kubernetes.api import Api
    from archiver.replay.restoration import Options
    from archiver.replay.targets import Target

__all__ = [
    "ClusterPlan",
    "ClusterReport",
    "ClusterRestoration",
    "Cut",
    "FolderReport",
    "PreparedRestore",
    "RestoreScope",
    "plan_cluster",
    "plan_objects",
    "restore_to_cluster",
    "restore_to_folder",
]

BUSY_SECONDS = 120.0
"""How long a target may be busy or silent, once writing has begun, before the restore gives up."""

PLAN_SECONDS = 10.0


class PreparedRestore(msgspec.Struct):
    """A plan and what it needs to run."""

    plan: ClusterPlan
    objects: Objects
    """Manifests as captured."""
    live: dict[Key, Manifest]
    """What the target holds of the same resources; empty for a folder."""
    owners: dict[str, str]
    """UIDs of owners outside the plan that live in the target."""
    cluster: str = ""
    """The target's identity; empty for a folder."""
    captured: bool = False
    """Whether the target is, or may be, a cluster that the archive captures, now or once, of any source."""
    no_undo: str = ""
    """Where it is: why a restore into it cannot be undone all the same, since the source is not captured from there now. Empty: it can."""


@dataclass(slots=True)
class ClusterRestoration:
    """The ``Restoration`` of one Kubernetes source."""

    source: str
    target: Target | None
    prepared: PreparedRestore
    api: Api | None
    """Of the target cluster; ``None`` for a folder, and when only the plan is wanted."""
    options: Options
    clock: Clock
    archive: str = ""
    at: str = ""
    """The point as an entry number or a time."""
    exactly: bool = False
    """Nothing is written when anything of it changed in the target since the plan was made."""
    departures: list[str] = field(default_factory=list)
    """Why the plan that was to be carried out does not hold any more."""

    @property
    def plan(self) -> ClusterPlan:
        """Of what is prepared."""
        return self.prepared.plan

    @property
    def moment(self) -> int:
        """See ``Restoration``."""
        return self.plan.observed

    @property
    def entry(self) -> int:
        """See ``Restoration``."""
        return self.plan.entry

    @property
    def refusal(self) -> Refused | None:
        """See ``Restoration``."""
        if self.departures:
            return Refused(
                f"{self.source}: the plan does not hold any more: {told(self.departures)}",
                hint="nothing was written; make a new plan and look at it: restore --dry-run --plan-file FILE",
            )
        found = self.plan.refusals
        if not found:
            return None
        more = f" (and {len(found) - 1} more; --dry-run lists them)" if len(found) > 1 else ""
        return Refused(f"{self.source}: {found[0]}{more}", hint="say the option that it names, or take another target")

    @property
    def gaps(self) -> list[str]:
        """See ``Restoration``."""
        return self.plan.gaps

    @property
    def doubts(self) -> list[str]:
        """See ``Restoration``."""
        return self.plan.doubts()

    def shown(self) -> dict[str, Any]:
        """See ``Restoration``; why the target is refused is in the plan."""
        return {"plan": self.plan, "totals": self.plan.totals(), "in_the_way": [], "refusal": None}

    def pause(self) -> AbstractAsyncContextManager[None] | None:
        """See ``Restoration``."""
        return hold_leases(self.api, self.options.leases, self.clock) if self.api is not None else None

    async def carry_out(self, progress: Progress) -> ClusterReport | FolderReport:
        """See ``Restoration``; raises as ``restore_to_cluster`` and ``restore_to_folder`` do, and ``Refused`` when what a plan file names
        has changed while leases were waited for.
        """
        if self.api is not None:
            before = self._before if self.options.before is not None and self.prepared.captured else None
            planned = self.file() if self.exactly else self.options.planned
            return await _write(self.api, self.prepared, self.clock, progress, planned, before)
        assert self.target is not None
        return write_folder(self.plan, self.prepared.objects, Path(self.target.value), overwrite=self.options.overwrite)

    async def _before(self, versions: Mapping[Key, tuple[str, str]]) -> None:
        """Have the options' word on what is about to be written, as it is in the target by then."""
        assert self.options.before is not None
        planned = self.file()
        written = []
        for each in planned.objects:
            uid, resource_version = versions.get(each.key, ("", ""))
            if each.do != "skip" and each.key in versions:
                # What is gone since the plan was made is created.
                do = each.do if uid or each.do == "delete" else "create"
                written.append(msgspec.structs.replace(each, do=do, uid=uid, resource_version=resource_version))
        await self.options.before(msgspec.structs.replace(planned, objects=written), self.prepared.no_undo)

    def file(self) -> PlanFile:
        """The plan for ``--plan-file``. ``Invalid`` where the target is no API server."""
        if self.api is None or self.target is None:
            raise Invalid("a plan file is of objects that are restored into an API server", hint="give --to kubeconfig:PATH")
        options, prepared = self.options, self.prepared
        choices = Choices.of(
            options.scope,
            mode="exact" if options.overwrite else options.mode,
            strict=options.strict,
            into_source=options.into_source,
            allow_controllers=options.allow_controllers,
            allow_gaps=options.allow_gaps,
            leases=list(options.leases),
            **({} if options.delete is None else {"delete": options.delete}),
            **({"delete_managed": True} if options.delete_managed else {}),
        )
        return PlanFile(
            FORMAT,
            VERSION,
            self.clock.now(),
            __version__,
            self.archive,
            self.source,
            self.at,
            self.plan.entry,
            self.plan.cluster,
            prepared.cluster,
            self.target.value,
            choices,
            planned_objects(self.plan, prepared.objects, prepared.live, prepared.owners),
            self.plan.namespaces,
        )

    async def close(self) -> None:
        """Close the connection to the target."""
        if self.api is not None:
            await self.api.close()


async def plan_objects(reader: Reader, source: str, target: Target | None, cut: Cut, options: Options, clock: Clock) -> ClusterRestoration:
    """``plan_cluster`` for a target as the user named it; its connection is open until the result is closed."""
    tail = await reader.tail()
    api = await open_target(target, clock)
    try:
        scope = options.scope
        prepared = await plan_cluster(
            reader,
            source,
            cut,
            scope,
            api,
            clock,
            overwrite=options.overwrite,
            mode=options.mode,
            strict=options.strict,
            anew=options.anew,
            into_source=options.into_source,
            leases=options.leases,
            allow_controllers=options.allow_controllers,
            ask_target=options.ask_target,
            delete=options.delete,
            delete_managed=options.delete_managed,
        )
    except BaseException:
        if api is not None:
            await api.close()
        raise
    planned = ClusterRestoration(source, target, prepared, api, options, clock, tail.archive if tail else "", cut.text)
    if options.planned is not None:
        planned.departures = departures(options.planned, planned.file())
    return planned


async def open_target(target: Target | None, clock: Clock) -> Api | None:
    """The connection to a target cluster; ``None`` for what is none."""
    if target is None or target.kind != "cluster":
        return None
    path, _, context = target.value.removeprefix("kubeconfig:").partition("#")
    from archiver.kubernetes.api import Api  # its driver takes longer to load than a small archive to restore

    return await Api.open(clock, kubeconfig=os.path.expanduser(path), context=context)  # noqa: ASYNC240, PTH111 -- looks at HOME only


async def plan_cluster(
    reader: Reader,
    source: str,
    cut: Cut,
    scope: RestoreScope,
    api: Api | None,
    clock: Clock,
    *,
    overwrite: bool = False,
    mode: Mode = "create-missing",
    strict: bool = False,
    anew: bool = False,
    into_source: bool = False,
    leases: Sequence[str] = (),
    allow_controllers: bool = False,
    ask_target: bool = False,
    delete: int | None = None,
    delete_managed: bool = False,
) -> PreparedRestore:
    """What a restore of ``source`` as it was at ``cut`` would do; ``api``: the target, ``None`` for a folder. Changes nothing.

    ``leases``: held while it runs; ``allow_controllers``: others may live there. ``ask_target``: have the target say of each object whether
    it would take it. ``delete``: with mode ``exact``, what lives in the scope and was not there is deleted, so many objects at most;
    ``delete_managed``: also what Argo CD and Helm manage.

    What forbids the restore is in ``plan.refusals`` (the target is the captured cluster, controllers live there, …), what is not known of
    the history in ``plan.gaps``. Raises ``Invalid`` when the archive has no such source, ``HistoryLost`` when nothing of it is known at the
    cut, ``Unavailable`` when the target does not answer, ``Invalid`` when it does not let its user look; and the errors of ``Reader``.
    """
    folds = await read_streams(reader, source, cut)
    selection = select(folds, scope, lenient=delete is not None)
    if api is None:
        plan, objects = make_plan(source, selection, None)
        return PreparedRestore(plan, objects, {}, {})
    server = PatientApi(api, clock, PLAN_SECONDS)
    target = await identify(server)
    live = await living(server, selection, scope if delete is not None else None)
    owners = await living_owners(server, selection, live)
    plan, objects = make_plan(source, selection, live, overwrite=overwrite, mode=mode, strict=strict, anew=anew, owners=owners)
    point = [CapturedCluster(source, cluster, url, now=False) for cluster in selection.clusters for url in selection.servers or [""]]
    captured = [*point, *await named_clusters(reader)]
    own = _own_source(captured, target, server.server)
    plan.refusals = [
        *([] if into_source else own),
        *await unusable_namespaces(server, plan.namespaces),
        *await controllers(server, plan, leases, clock, allowed=allow_controllers),
        *plan.refusals,
    ]
    if delete is not None:
        moment = max(cut.time or await _latest(reader, cut), selection.observed) if own or _may_be(captured, target) else 0
        add_deletions(plan, selection, scope, live, moment=moment, most=delete, managed=delete_managed)
    if ask_target:
        await rehearse(server, plan, objects, live)
    mine = _own_source([each for each in captured if each.now and each.source == source], target, server.server)
    no_undo = "" if mine or not own else f"the target is not the cluster that {source} is captured from now"
    return PreparedRestore(plan, objects, live, owners, target.text, captured=bool(own), no_undo=no_undo)


async def controllers(server: PatientApi, plan: ClusterPlan, held: Sequence[str], clock: Clock, *, allowed: bool) -> list[str]:
    """Why objects with a status must not be restored there: a controller that sees one before its status does its work again."""
    resources = sorted({action.resource for action in plan.actions if action.status and action.do != "skip"})
    if not resources:
        return []
    found = await living_leases(server, plan.namespaces, clock)
    if found.unseen:
        where = ", ".join("all other namespaces" if name == "*" else name for name in found.unseen)
        plan.notes.append(f"whether controllers live in the target is not known of {where}: its user may not list leases there")
    names = [name for name in found.names if name not in held]
    if not names:
        return []
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    text = f"controllers live in the target (leases {shown}), and may do the work of restored objects again"
    plan.notes.append(text)
    # Who holds one that lives has thought of it.
    chosen = allowed or len(names) < len(found.names)
    return [] if chosen else [f"{text}; --hold-lease for each that acts on them, or --allow-controllers"]


async def _latest(reader: Reader, cut: Cut) -> int:
    """When the entry at the cut was written, at the latest: the time of its segment."""
    tail = await reader.tail()
    if tail is None:
        return 0
    header = await reader.header(await place_of(reader, tail, cut.seq)) if cut.seq else tail
    return (header or tail).time


async def living(server: PatientApi, selection: Selection, deleting: RestoreScope | None = None) -> dict[Key, Manifest]:
    """What the target holds of the selected resources. Definitions that its user may not list are left out of the selection.

    ``deleting``: of all resources that this scope reaches, too.
    """
    by_key = selection.objects.by_key
    namespaces = {namespace for _, namespace, _ in by_key if namespace}
    names = {resource for resource, _, _ in by_key}
    resources = {name: selection.resources[name] for name in sorted(names - {DEFINITIONS})}
    if deleting is not None:
        resources |= listed_resources(selection)
        namespaces |= deleting.spaces | {space for _, space, _ in deleting.objects if space}
    live = await live_objects(server, resources, namespaces)
    if DEFINITIONS in names:
        try:
            live |= await live_objects(server, {DEFINITIONS: selection.resources[DEFINITIONS]}, set())
        except Invalid:
            for key in [key for key in by_key if key[0] == DEFINITIONS]:
                del by_key[key]
                selection.left_out.append((key, "the target's user may not list definitions"))
    return live


async def restore_to_cluster(
    api: Api, prepared: PreparedRestore, clock: Clock, *, allow_gaps: bool = False, progress: Progress = lambda *_: None
) -> ClusterReport:
    """Do what the plan says, then compare what the target holds with what was captured.

    An object that the server does not take is in ``failures`` and the others go on; what reads back otherwise is in ``differences``.
    Raises ``Refused`` when the plan has refusals, gaps without ``allow_gaps``, or a kind that the target does not serve, and nothing was
    written; ``Partial`` for what stops it after something was; ``Unavailable`` when the target stops answering. A failure or cancellation
    leaves what was created; a new plan with mode ``exact`` goes on.
    """
    _require(prepared.plan, allow_gaps=allow_gaps)
    return await _write(api, prepared, clock, progress)


async def _write(
    api: Api,
    prepared: PreparedRestore,
    clock: Clock,
    progress: Progress,
    planned: PlanFile | None = None,
    before: Before | None = None,
) -> ClusterReport:
    server = PatientApi(api, clock, BUSY_SECONDS)
    plan = prepared.plan
    # What stays behind in a namespace that others are restored from owns nothing of theirs.
    live = {key: manifest for key, manifest in prepared.live.items() if key[1] not in plan.moves}
    versions = {each.key: (each.uid, each.resource_version) for each in planned.objects if each.do != "skip"} if planned else None
    return await Restorer(server, plan, prepared.objects, live, prepared.owners, clock, progress, versions, before).run()


def restore_to_folder(prepared: PreparedRestore, folder: Path, *, overwrite: bool = False, allow_gaps: bool = False) -> FolderReport:
    """Write the plan's objects into ``folder``, the same bytes every time. Raises ``Refused`` as ``restore_to_cluster`` does, and when the
    folder holds anything, unless ``overwrite``.
    """
    _require(prepared.plan, allow_gaps=allow_gaps)
    return write_folder(prepared.plan, prepared.objects, folder, overwrite=overwrite)


def _require(plan: ClusterPlan, *, allow_gaps: bool) -> None:
    if plan.refusals:
        more = f", and {len(plan.refusals) - 1} more" if len(plan.refusals) > 1 else ""
        raise Refused(
            f"{plan.refusals[0]}{more}", hint="say the option that it names, or take another target; `--dry-run` shows the whole plan"
        )
    if plan.gaps and not allow_gaps:
        more = f", and {len(plan.gaps) - 1} more" if len(plan.gaps) > 1 else ""
        raise Refused(f"{plan.gaps[0]}{more}", hint="choose another point, or say --allow-gaps to restore what is known")


def _may_be(captured: Sequence[CapturedCluster], target: Cluster) -> bool:
    """Whether the target may be a captured cluster: no other one, as far as UIDs tell."""
    return any(not (each.uid and target.uid) or each.uid == target.uid for each in (Cluster.of(one.identity) for one in captured))


def _own_source(captured: Sequence[CapturedCluster], target: Cluster, url: str) -> list[str]:
    """Why the target must not be written to without a word for it, if it is one of the clusters, or may be: the surest reason.

    By UID where both are known. Else the same CA or the same address mean the same cluster: where rights do not reach further, that is
    refused which may be it.
    """
    found = set()
    for one in captured:
        each = Cluster.of(one.identity)
        if each.uid and target.uid:
            if each.uid == target.uid:
                found.add(0)
        elif each.authority and each.authority == target.authority:
            found.add(1)
        elif url == one.server:
            found.add(2)
        elif not (each.authority and target.authority):
            found.add(3)
    return [_OWN[min(found)]] if found else []


_OWN = (
    "the target is the captured cluster itself, now or once; --into-source if that is meant",
    "the target has the captured cluster's certificate authority, and may be it; --into-source if that is meant",
    "the target has the captured cluster's address; --into-source if that is meant",
    "it cannot be told whether the target is the captured cluster; --into-source if it may be",
)
"""From the surest on."""
