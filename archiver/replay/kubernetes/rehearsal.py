"""Asking the target about each object of a plan without writing it: the API server's own dry run, with its admission and its quotas."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from archiver.kubernetes import url_paths
from archiver.kubernetes.url_paths import collection, member
from archiver.replay.kubernetes import manifests, sure_writes
from archiver.replay.kubernetes.definition_names import rival
from archiver.replay.kubernetes.findings import lost_fields, paths_text
from archiver.replay.kubernetes.laying_over import ways
from archiver.replay.kubernetes.object_quotas import over_quota
from archiver.replay.kubernetes.plan import Action, ClusterPlan
from archiver.replay.kubernetes.selection import DEFINITIONS, NAMESPACES, Key, Objects, label
from archiver.replay.kubernetes.target_objects import served, told

if TYPE_CHECKING:
    from archiver.replay.kubernetes.manifests import Manifest
    from archiver.replay.kubernetes.patient_api import PatientApi

_AT_ONCE = 16
_DRY = {"dryRun": "All"}
_ELSEWHERE = "default"
"""A namespace that every cluster has."""


async def rehearse(server: PatientApi, plan: ClusterPlan, objects: Objects, live: Mapping[Key, Manifest]) -> None:
    """Note in ``plan.would_fail`` what the target would not take, and in ``plan.not_asked`` what it cannot be asked about yet; of what it
    would take, which fields its schema would lose, as a reason of the action.

    Objects whose namespace comes with the restore are asked about in another one: only what their schema says counts. Raises
    ``Unavailable`` when the target does not answer.
    """
    actions = [action for action in plan.actions if action.do != "skip"]
    missing = await _namespaces(server, plan)
    lacking = await _not_served(server, plan, actions)
    uids = {manifests.uid(manifest): manifests.uid(manifest) for manifest in objects.by_key.values()}
    not_asked: Counter[str] = Counter()
    gate = asyncio.Semaphore(_AT_ONCE)
    lost: dict[Key, list[str]] = {}

    async def ask(action: Action) -> Action | str:
        if action.do == "delete":
            async with gate:
                answer = await sure_writes.delete(server, _place(plan, action), live[action.key], dry=True)
            return action if answer.status in (200, 202, 404, 409) else f"{label(action.key)}: {told(answer)}"
        wanted, _ = manifests.desired(objects.by_key[action.key], uids)
        # With their old UIDs owners look like others; whether they are there is the plan's affair.
        wanted["metadata"].pop("ownerReferences", None)
        if action.resource == DEFINITIONS:
            wanted.pop("status", None)
        elsewhere = action.namespace in missing
        space = _ELSEWHERE if elsewhere else action.namespace
        if elsewhere:
            wanted["metadata"]["namespace"] = space
        path = collection(plan.resources[action.resource], space)
        async with gate:
            there = live.get(action.key)
            if action.do != "create" and there is not None:
                captured = objects.by_key[action.key]
                merge = action.do == "merge"
                bodies = ways(wanted, captured, there) if merge else [manifests.with_applied(wanted, captured, there)]
                version = {name: there["metadata"][name] for name in ("uid", "resourceVersion")}
                for wanted in bodies:
                    body = {**wanted, "metadata": {**wanted["metadata"], **version}}
                    answer, _ = await server.send("PUT", member(path, action.name), body, _DRY)
                    if answer.status != 422:
                        break
            else:
                answer, _ = await server.send("POST", path, wanted, _DRY)
        if answer.status in (200, 201) and action.resource != DEFINITIONS:
            # Its metadata is the server's; a status may be written by itself alone.
            sent = {key: value for key, value in wanted.items() if key not in ("metadata", "status")}
            lost[action.key] = lost_fields(sent, server.manifest(answer.body))
        if answer.status in (200, 201) or (answer.status in (404, 409) and (elsewhere or action.do != "create")):
            # There by chance, or changed meanwhile: what the restore writes is looked at again first.
            return action
        if answer.status == 400 and b"does not support dry run" in answer.body:
            not_asked[f"{action.resource}: {told(answer)}"] += 1
            return action
        if elsewhere and answer.status != 422:
            not_asked[f"{action.resource}: namespace {action.namespace} comes with the restore"] += 1
            return action
        return f"{label(action.key)}: {told(answer)}"

    asked = []
    for action in actions:
        if action.resource in lacking:
            not_asked[f"{action.resource}: {lacking[action.resource]}"] += 1
        else:
            asked.append(action)
    answers = await asyncio.gather(*map(ask, asked))
    plan.would_fail += sorted(answer for answer in answers if isinstance(answer, str))
    # The server takes such a definition, and never serves it.
    living = [there for (resource, _, _), there in live.items() if resource == DEFINITIONS]
    for action in (each for each in actions if each.resource == DEFINITIONS):
        if other := rival(objects.by_key[action.key], living):
            plan.would_fail.append(f"{label(action.key)}: its names are taken in the target by {other}, so its objects cannot be made")
    # Quotas are there before the definitions of what they count.
    coming = [action for action in actions if action.resource in lacking]
    taken = [each for each in (*coming, *answers) if isinstance(each, Action) and each.do == "create" and each.namespace not in missing]
    plan.would_fail += await over_quota(server, [(action.resource, action.namespace) for action in taken])
    plan.actions = [_losing(action, lost.get(action.key, [])) for action in plan.actions]
    plan.not_asked = [f"{count} of {why}" for why, count in sorted(not_asked.items())]


def _place(plan: ClusterPlan, action: Action) -> str:
    return member(collection(plan.resources[action.resource], action.namespace), action.name)


def _losing(action: Action, fields: list[str]) -> Action:
    if not fields:
        return action
    reason = f"the target's schema loses {paths_text(fields)}"
    return msgspec.structs.replace(action, why=f"{action.why}; {reason}" if action.why else reason)


async def _namespaces(server: PatientApi, plan: ClusterPlan) -> set[str]:
    """Namespaces that are not there yet; whether they may be made is asked, here or as of any object of the plan."""
    missing = set()
    planned = {action.name for action in plan.actions if action.resource == NAMESPACES and action.do != "skip"}
    for name in plan.namespaces:
        answer = await server.get(url_paths.namespace(name))
        if answer.status != 404:
            continue
        missing.add(name)
        if name in planned:
            continue
        answer, _ = await server.send("POST", url_paths.NAMESPACES, manifests.namespace(name), _DRY)
        if answer.status not in (200, 201, 409):
            plan.would_fail.append(f"namespace {name}: {told(answer)}")
    return missing


async def _not_served(server: PatientApi, plan: ClusterPlan, actions: list[Action]) -> dict[str, str]:
    """Resources that the target does not serve, and why it cannot be asked about their objects."""
    coming = {action.name for action in actions if action.resource == DEFINITIONS}
    versions: dict[tuple[str, str], set[str]] = {}
    found = {}
    for name in sorted({action.resource for action in actions}):
        resource = plan.resources[name]
        version = (resource.group, resource.version)
        if version not in versions:
            versions[version] = set(await served(server, *version))
        if resource.plural not in versions[version]:
            found[name] = "their definition comes with the restore" if name in coming else "the target does not serve them"
            if name not in coming:
                plan.would_fail.append(f"{name}: the target does not serve it, and its definition is not in the plan")
    return found
