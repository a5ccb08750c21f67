"""Deletes what was not there at the point, each object only as it was when the plan was made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from archiver.kubernetes.url_paths import collection, member
from archiver.replay.kubernetes import manifests, sure_writes
from archiver.replay.kubernetes.selection import Key, label
from archiver.replay.kubernetes.target_objects import live_objects, told

if TYPE_CHECKING:
    from archiver.replay.kubernetes.manifests import Manifest
    from archiver.replay.kubernetes.patient_api import PatientApi
    from archiver.replay.kubernetes.plan import Action, ClusterPlan
    from archiver.replay.kubernetes.to_cluster import ClusterReport

_AT_ONCE = 16


async def delete_objects(
    server: PatientApi,
    plan: ClusterPlan,
    actions: Sequence[Action],
    live: Mapping[Key, Manifest],
    report: ClusterReport,
    progress: Callable[[str, int, int], None],
) -> None:
    """Delete the objects of ``actions`` as they are in ``live``, and say in ``report`` what became of each.

    Owners come before what they own, by the levels of the actions. What an object owns stays, without its owner: it may be of a kind that
    is not captured. Who writes to an object meanwhile keeps it, as a failure.
    """
    gone: list[Action] = []
    owners: set[str] = set()
    gate, done = asyncio.Semaphore(_AT_ONCE), 0

    async def one(action: Action) -> None:
        nonlocal done
        place = member(collection(plan.resources[action.resource], action.namespace), action.name)
        async with gate:
            answer = await sure_writes.delete(server, place, live[action.key], gone=owners)
        done += 1
        progress("deleting", done, len(actions))
        if answer.status in (200, 202, 404):
            report.deleted += 1
            gone.append(action)
        else:
            report.failures.append(f"{label(action.key)}: not deleted: {told(answer)}")

    # A controller that lives makes anew what it misses, and nothing more once its owner is going.
    for level in sorted({action.level for action in actions}):
        await asyncio.gather(*(one(action) for action in actions if action.level == level))
        owners |= {manifests.uid(live[action.key]) for action in gone}
    resources = {action.resource: plan.resources[action.resource] for action in gone}
    now = await live_objects(server, resources, {action.namespace for action in gone if action.namespace})
    for action in sorted(gone, key=lambda action: action.key):
        there = now.get(action.key)
        if there is not None and manifests.uid(there) == manifests.uid(live[action.key]):
            left = there["metadata"].get("finalizers") or []
            report.going.append(f"{label(action.key)}: {', '.join(map(str, left)) or 'no finalizer'}")
        elif there is not None:
            report.differences.append(f"{label(action.key)}: was deleted, and somebody has made it again")
