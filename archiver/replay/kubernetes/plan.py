"""State at a point and what the target holds -> what a restore would do. Pure: it can be printed, and what runs is this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from archiver.journal import kubernetes_json as kj
from archiver.journal.kubernetes_records import Resource
from archiver.replay.kubernetes import manifests
from archiver.replay.kubernetes.manifests import Manifest
from archiver.replay.kubernetes.state import Folded

DEFINITIONS = "customresourcedefinitions"

Do = Literal["create", "replace", "skip"]


class Action(msgspec.Struct, frozen=True):
    """One object of the plan."""

    do: Do
    resource: str
    """``plural.group``."""
    namespace: str
    name: str
    why: str = ""
    """For ``skip`` and ``replace``."""
    level: int = 0
    """0 has no owner in the plan, 1 is owned by 0, …"""
    status: bool = False
    """Has a status to put back."""


class Scope(msgspec.Struct, frozen=True):
    """What the user named; empty means all."""

    kinds: frozenset[str] = frozenset()
    """``plural`` or ``plural.group``."""
    namespaces: frozenset[str] = frozenset()

    def has(self, resource: Resource, namespace: str) -> bool:
        """Whether an object of that resource and namespace is meant."""
        named = not self.kinds or bool({resource.plural, f"{resource.plural}.{resource.group}"} & self.kinds)
        return named and (not self.namespaces or not namespace or namespace in self.namespaces)


class ClusterPlan(msgspec.Struct):
    """What would be done, and what must be known before it is."""

    source: str
    cluster: str
    """Identity of the captured cluster."""
    entry: int
    """Newest entry in use."""
    observed: int
    """When it was received."""
    actions: list[Action] = []
    namespaces: list[str] = []
    """Namespaces that must exist; those that do not are created."""
    gaps: list[str] = []
    notes: list[str] = []
    refusals: list[str] = []
    resources: dict[str, Resource] = {}
    """``plural.group`` -> resource."""

    def counts(self) -> dict[str, int]:
        """How many actions of each sort."""
        found: dict[str, int] = {}
        for action in self.actions:
            found[action.do] = found.get(action.do, 0) + 1
        return found


class Objects(msgspec.Struct):
    """The manifests behind a plan's actions, by resource, namespace and name."""

    by_key: dict[tuple[str, str, str], Manifest] = {}


def name_of(resource: Resource) -> str:
    """``plural.group``, or ``plural`` of the core group."""
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural


def make_plan(
    source: str, folds: Sequence[Folded], scope: Scope, live: Mapping[tuple[str, str, str], str] | None = None, *, overwrite: bool = False
) -> tuple[ClusterPlan, Objects]:
    """The plan for ``folds``. ``live``: (resource, namespace, name) of what the target holds -> its uid; ``None`` for a folder.

    Owners stand before what they own; definitions before everything.
    """
    plan = ClusterPlan(
        source=source,
        cluster=next((fold.state.cluster for fold in folds if fold.state.cluster), ""),
        entry=max((fold.entry for fold in folds), default=0),
        observed=max((fold.observed for fold in folds), default=0),
    )
    objects = Objects()
    skipped: list[Action] = []
    for fold in folds:
        resource = fold.state.resource
        if resource is None:
            continue
        name = name_of(resource)
        plan.resources[name] = resource
        if fold.gap is not None and fold.gap.reason != "resource_gone":
            plan.gaps.append(f"{fold.name}: {fold.gap.reason}, no complete list since")
        for (namespace, object_name), seen in sorted(fold.state.objects.items()):
            if resource.plural != DEFINITIONS and not scope.has(resource, namespace):
                continue
            manifest = kj.document(seen.body, resource.group, resource.version, resource.kind)
            if manifests.terminating(manifest):
                skipped.append(Action("skip", name, namespace, object_name, "was being deleted"))
                continue
            objects.by_key[name, namespace, object_name] = manifest
    levels = _levels(objects)
    exists = live or {}
    for key, manifest in objects.by_key.items():
        there = key in exists
        do: Do = "replace" if there else "create"
        why = "the target holds it already" if there else ""
        if there and key[0].startswith(f"{DEFINITIONS}."):
            do = "skip"
            why = "the target has this definition already"
        elif there and not overwrite:
            plan.refusals.append(f"{key[0]} {key[1]}/{key[2]} exists in the target")
        plan.actions.append(Action(do, *key, why, levels[key], bool(manifest.get("status"))))
    plan.actions.sort(
        key=lambda action: (not action.resource.startswith(f"{DEFINITIONS}."), action.level, action.resource, action.namespace, action.name)
    )
    plan.actions += skipped
    plan.namespaces = sorted({action.namespace for action in plan.actions if action.namespace and action.do != "skip"})
    known = {manifests.uid(manifest) for manifest in objects.by_key.values()} | set(exists.values())
    orphans = sum(1 for manifest in objects.by_key.values() if any(owner not in known for owner in manifests.owners(manifest)))
    if orphans:
        plan.notes.append(f"{orphans} objects have an owner that is neither in the plan nor in the target: that reference is left out")
    return plan, objects


def _levels(objects: Objects) -> dict[tuple[str, str, str], int]:
    """Depth of ownership inside the plan; a cycle, which no garbage collector could have left, counts as the top."""
    by_uid = {manifests.uid(manifest): key for key, manifest in objects.by_key.items()}
    levels: dict[tuple[str, str, str], int] = {}

    def level(key: tuple[str, str, str], above: frozenset[tuple[str, str, str]]) -> int:
        if key in levels:
            return levels[key]
        parents = [by_uid[owner] for owner in manifests.owners(objects.by_key[key]) if owner in by_uid]
        depths = [level(parent, above | {key}) for parent in parents if parent not in above and parent != key]
        levels[key] = max(depths, default=-1) + 1
        return levels[key]

    for key in objects.by_key:
        level(key, frozenset())
    return levels
