"""The plan that undoes a restore: what it wrote goes back to its mark, and nothing else is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from archiver.kubernetes.cluster import Cluster, identify
from archiver.replay.kubernetes.additions import owners_first
from archiver.replay.kubernetes.fold import read_streams
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.replay.kubernetes.patient_api import PatientApi
from archiver.replay.kubernetes.plan import Action, known_uids, make_plan
from archiver.replay.kubernetes.plan_file import is_other
from archiver.replay.kubernetes.rehearsal import rehearse
from archiver.replay.kubernetes.restore import (
    PLAN_SECONDS,
    ClusterRestoration,
    PreparedRestore,
    controllers,
    living,
    open_target,
)
from archiver.replay.kubernetes.selection import DEFINITIONS, Key, RestoreScope, Selection, label, select
from archiver.replay.kubernetes.target_objects import live_objects, living_owners, unusable_namespaces
from archiver.replay.kubernetes.undo_choice import Choice, choose
from archiver.replay.points import parse_point

if TYPE_CHECKING:
    from collections.abc import Mapping

    from archiver.clock import Clock
    from archiver.journal.reader import Reader
    from archiver.kubernetes.api import Api
    from archiver.kubernetes.records import Resource
    from archiver.replay.kubernetes.manifests import Manifest
    from archiver.replay.kubernetes.undo_record import UndoRecord
    from archiver.replay.restoration import Options
    from archiver.replay.targets import Target

_NAMED = 5


async def plan_undo(
    reader: Reader, record: UndoRecord, target: Target, options: Options, clock: Clock, *, changed: bool
) -> ClusterRestoration:
    """What undoing the restore of ``record`` in ``target`` would do; its connection is open until the result is closed. Changes nothing.

    ``changed``: what others changed since is undone too; without it the plan is refused where there is any. It is refused as well for
    another cluster than the one that was restored into, and as every restore is. Raises as ``plan_cluster`` does, and ``Retired`` when
    the mark, or the point that was restored, is no longer in the journal.
    """
    api = await open_target(target, clock)
    assert api is not None
    try:
        return await _plan(reader, record, target, api, options, clock, changed=changed)
    except BaseException:
        await api.close()
        raise


async def _plan(
    reader: Reader, record: UndoRecord, target: Target, api: Api, options: Options, clock: Clock, *, changed: bool
) -> ClusterRestoration:
    server = PatientApi(api, clock, PLAN_SECONDS)
    source, written = record.plan.source, record.plan.objects
    cluster = await identify(server)
    scope = RestoreScope(objects=frozenset(each.key for each in written))
    before = select(await read_streams(reader, source, Cut(seq=record.entry)), scope, lenient=True)
    point = Cut.at(parse_point(record.plan.at)) if record.plan.at else Cut(seq=record.entry)
    restored = select(await read_streams(reader, source, point), record.plan.choices.scope, lenient=True)
    # Owners that were not written themselves count too.
    there = await _there(server, {each.key for each in written} | set(restored.objects.by_key), restored.resources | before.resources)
    outside = await living_owners(server, restored, there)
    uids = known_uids(restored.objects, there, outside)
    choices = list(choose(written, before.objects.by_key, restored.objects.by_key, there, uids))

    chosen = {choice.key for choice in choices if choice.do == "put back"}
    _narrow(before, chosen)
    live = there | await living(server, before)
    owners = await living_owners(server, before, live)
    plan, objects = make_plan(source, before, live, mode="exact", owners=owners)
    plan.resources = restored.resources | before.resources
    _take(plan.actions, choices, there)
    known = {action.key for action in plan.actions}
    plan.actions += [Action("skip", *choice.key, choice.why) for choice in choices if choice.key not in known]
    plan.undone = [f"{label(choice.key)}: {choice.why}" for choice in choices if choice.problem]
    if is_other(Cluster.of(record.plan.cluster), cluster):
        plan.refusals.append(f"the restore was into another cluster ({record.plan.cluster}, not {cluster.text})")
    others = [choice for choice in choices if choice.changed]
    if others and not changed:
        names = "; ".join(f"{label(choice.key)}: {choice.why}" for choice in others[:_NAMED])
        more = f"; and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
        plan.refusals.append(f"others changed {len(others)} objects since ({names}{more}); --changed undoes these too")
    plan.refusals += await unusable_namespaces(server, plan.namespaces)
    plan.refusals += await controllers(server, plan, options.leases, clock, allowed=options.allow_controllers)
    if options.ask_target:
        await rehearse(server, plan, objects, live)
    options = msgspec.structs.replace(options, scope=RestoreScope(objects=frozenset(chosen)), mode="exact", into_source=True)
    prepared = PreparedRestore(plan, objects, live, owners, cluster.text, captured=True)
    return ClusterRestoration(source, target, prepared, api, options, clock, record.plan.archive, str(record.entry), exactly=True)


async def _there(server: PatientApi, keys: set[Key], resources: dict[str, Resource]) -> dict[Key, Manifest]:
    """What lives of the kinds of ``keys``."""
    names = sorted({resource for resource, _, _ in keys} - {DEFINITIONS})
    known = {name: resources[name] for name in names if name in resources}
    return await live_objects(server, known, {space for _, space, _ in keys if space})


def _narrow(selection: Selection, chosen: set[Key]) -> None:
    """Leave only what is put back, and the definitions of it."""
    kinds = {resource for resource, _, _ in chosen}
    by_key = selection.objects.by_key
    for key in [key for key in by_key if key not in chosen and not (key[0] == DEFINITIONS and key[2] in kinds)]:
        del by_key[key]
    selection.left_out = [(key, why) for key, why in selection.left_out if key in chosen]
    selection.gaps = selection.gaps if chosen else []


def _take(actions: list[Action], choices: list[Choice], there: Mapping[Key, Manifest]) -> None:
    """Add the deletions, after what is written, and say of everything why it is done."""
    why = {choice.key: choice.why for choice in choices}
    for place, action in enumerate(actions):
        if action.key in why and action.do != "skip":
            reasons = [why[action.key], *([action.why] if action.why else [])]
            actions[place] = msgspec.structs.replace(action, why="; ".join(reasons))
    end = next((place for place, action in enumerate(actions) if action.do == "skip"), len(actions))
    deleted = [Action("delete", *choice.key, choice.why, finding="delete") for choice in choices if choice.do == "delete"]
    actions[end:end] = owners_first(deleted, there)
