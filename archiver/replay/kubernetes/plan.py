"""Objects at a point and what the target holds -> what a restore would do. Pure: it can be printed, and what runs is this."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Literal

import msgspec

from archiver.kubernetes.records import Resource
from archiver.kubernetes.redaction_mark import lacking_paths, redacted_paths
from archiver.replay.kubernetes import manifests
from archiver.replay.kubernetes.findings import (
    Finding,
    Total,
    differing_merged,
    differing_without_owners,
    gitops,
    in_place,
    paths_text,
)
from archiver.replay.kubernetes.manifests import Manifest
from archiver.replay.kubernetes.owners import levels, owner_label, owner_uids, references
from archiver.replay.kubernetes.selection import DEFINITIONS, NAMESPACES, Key, Objects, Selection, Stream, label

Do = Literal["create", "replace", "merge", "delete", "skip"]
Mode = Literal["create-missing", "merge", "exact"]
"""What becomes of objects that the target holds already: they stay, have what was captured laid over them, or become what was captured."""

KEPT = "stays as the target has it"
WITHHELD = f"{KEPT}, since it would lose what is redacted"
"""Of what a user wanted to be replaced, or merged: the living object has fields that were never captured."""


class Action(msgspec.Struct, frozen=True):
    """One object of the plan."""

    do: Do
    resource: str
    """``plural.group``."""
    namespace: str
    name: str
    why: str = ""
    """Where there is something to say."""
    level: int = 0
    """0 has no owner in the plan, 1 is owned by 0, …"""
    status: bool = False
    """Has a status to put back."""
    finding: Finding = "skipped"
    """What the comparison with what lives says."""

    @property
    def key(self) -> Key:
        """Of its manifest in ``Objects``."""
        return self.resource, self.namespace, self.name


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
    """In the order in which they run; what is skipped comes last."""
    namespaces: list[str] = []
    """Namespaces that must exist; those that do not are created."""
    gaps: list[str] = []
    """What is not known of the history in use: a reason to refuse."""
    notes: list[str] = []
    """What the user should know, and nothing to refuse for."""
    orphans: list[str] = []
    """Objects and their owners that are neither in the plan nor in the target: those references are left out."""
    moves: dict[str, str] = {}
    """Namespaces of the archive whose objects are put into another one."""
    naming: list[str] = []
    """Objects that are put into another namespace, and where they name the old one still."""
    would_fail: list[str] = []
    """What the target says that it would not take, and why; only where it was asked."""
    not_asked: list[str] = []
    """What it cannot be asked about before the restore has begun."""
    undone: list[str] = []
    """What an undo should put back, and cannot now: object and reason."""
    refusals: list[str] = []
    """Why this plan must not run."""
    resources: dict[str, Resource] = {}
    """``plural.group`` -> resource."""
    streams: list[Stream] = []
    """How far each stream of the source is known at the point."""

    def doubts(self) -> list[str]:
        """What is not certain of the objects at the point, for people."""
        return [*(f"gap: {gap}" for gap in self.gaps), *(f"note: {note}" for note in self.notes)]

    def counts(self) -> dict[str, int]:
        """How many actions of each sort."""
        found: dict[str, int] = {}
        for action in self.actions:
            found[action.do] = found.get(action.do, 0) + 1
        return found

    def totals(self) -> list[Total]:
        """How many objects of each kind are to become what."""
        found = Counter((action.resource, action.finding) for action in self.actions)
        return [Total(*each, number) for each, number in sorted(found.items())]


def make_plan(
    source: str,
    selection: Selection,
    live: Mapping[Key, Manifest] | None = None,
    *,
    overwrite: bool = False,
    mode: Mode = "create-missing",
    strict: bool = False,
    anew: bool = False,
    owners: Mapping[str, str] | None = None,
) -> tuple[ClusterPlan, Objects]:
    """The plan for ``selection``. ``live``: what the target holds of the same resources; ``None`` for a folder. ``owners``: UIDs of owners
    outside the selection that the target holds.

    ``mode`` says what becomes of what the target holds already; ``overwrite`` is mode ``exact``. With ``strict``, mode ``create-missing``
    refuses it; with ``anew``, every mode does.
    Owners stand before what they own; definitions before everything.
    """
    mode = "exact" if overwrite else mode
    objects = selection.objects
    plan = ClusterPlan(
        source=source,
        cluster=selection.clusters[0] if selection.clusters else "",
        entry=selection.entry,
        observed=selection.observed,
        gaps=list(selection.gaps),
        notes=list(selection.notes),
        moves=dict(selection.moves),
        naming=list(selection.naming),
        resources=selection.resources,
        streams=selection.streams,
    )
    depth = levels({manifests.uid(manifest): owner_uids(manifest) for manifest in objects.by_key.values()})
    known = set(depth) | set(owners or {}) | {manifests.uid(manifest) for manifest in (live or {}).values()}
    # An owner that comes with the plan has a UID that nobody knows yet, and none of those that are there.
    uids = {uid: f"new {uid}" for uid in depth} | known_uids(objects, live or {}, owners or {})
    skipped = [Action("skip", *key, why) for key, why in selection.left_out]
    for key, manifest in objects.by_key.items():
        there = live.get(key) if live is not None else None
        if there is not None and key[0] in (DEFINITIONS, NAMESPACES):
            if key[0] == DEFINITIONS and manifests.terminating(there):
                plan.refusals.append(f"{label(key)} is being deleted in the target")
            same = key[0] == NAMESPACES or manifest.get("spec") == there.get("spec")
            skipped.append(Action("skip", *key, "the target has it already", finding="unchanged" if same else "conflict"))
            if key[0] == DEFINITIONS and manifest.get("spec") != there.get("spec"):
                plan.notes.append(f"{label(key)} is another one in the target: what its schema does not know is not restored")
            continue
        if there is not None and manifests.terminating(there):
            plan.refusals.append(f"{label(key)} is being deleted in the target")
        elif there is not None and anew:
            plan.refusals.append(f"{label(key)} exists in the target already, so nothing is proven of its restore")
        elif there is not None and strict and mode == "create-missing":
            plan.refusals.append(f"{label(key)} exists in the target; --overwrite replaces it, without --strict it stays as it is")
        elif there is not None and mode == "create-missing":
            skipped.append(_kept(key, manifest, there))
            continue
        redacted = redacted_paths(manifest)
        if there is not None and (lacking := lacking_paths(manifest)):
            skipped.append(Action("skip", *key, f"{WITHHELD} ({paths_text(lacking)})", finding="conflict"))
            continue
        has_status = key[0] != DEFINITIONS and bool(manifest.get("status"))
        finding, reasons = _found(manifest, there, known, uids, mode)
        if redacted:
            kept = "the copy of `kubectl apply` is redacted, and stays as the target has it"
            reasons.append(kept if there is not None else f"without what is redacted ({paths_text(redacted)})")
        do: Do = "create" if there is None else "merge" if mode == "merge" else "replace"
        plan.actions.append(Action(do, *key, "; ".join(reasons), depth[manifests.uid(manifest)], has_status, finding))
    plan.actions.sort(key=lambda action: (_turn(action.resource), action.level, action.key))
    plan.actions += skipped
    plan.notes += _redacted(objects)
    plan.namespaces = sorted({action.namespace for action in plan.actions if action.namespace and action.do != "skip"})
    for key, manifest in objects.by_key.items():
        lost = [reference for reference in references(manifest) if reference.get("uid", "") not in known]
        if lost:
            plan.orphans.append(f"{label(key)}: {', '.join(map(owner_label, lost))}")
    return plan, objects


def known_uids(objects: Objects, live: Mapping[Key, Manifest], owners: Mapping[str, str]) -> dict[str, str]:
    """Captured UID -> UID in the target, as far as that is known before anything is written: what lives keeps its own."""
    found = {manifests.uid(manifest): manifests.uid(manifest) for manifest in live.values()} | dict(owners)
    return found | {manifests.uid(manifest): manifests.uid(live[key]) for key, manifest in objects.by_key.items() if key in live}


def _kept(key: Key, manifest: Manifest, there: Manifest) -> Action:
    """What is left alone, and in what it is another one."""
    paths = differing_without_owners(manifest, there)
    if not paths:
        return Action("skip", *key, KEPT, finding="unchanged")
    return Action("skip", *key, f"{KEPT}, and differs in {paths_text(paths)}", finding="conflict")


def _found(manifest: Manifest, there: Manifest | None, known: set[str], uids: Mapping[str, str], mode: Mode) -> tuple[Finding, list[str]]:
    """What becomes of an object that is written, and the reasons."""
    argo = gitops(there if there is not None else manifest)
    reasons = [argo] if argo else []
    finding: Finding = "create"
    if there is not None:
        paths = differing_merged(manifest, there, uids) if mode == "merge" else manifests.differing(manifest, there, uids)
        finding = in_place(paths)
        reasons.insert(0, f"the target holds it already{f', and differs in {paths_text(paths)}' if paths else ''}")
    above = references(manifest)
    lost = [reference for reference in above if reference.get("uid", "") not in known]
    if lost:
        labels = ", ".join(map(owner_label, lost))
        if len(lost) < len(above):
            reasons.append(f"owner missing ({labels}): that reference is left out")
        else:
            finding = "would be collected" if there is None else finding
            reasons.append(f"owner missing ({labels}): it comes without, or would be collected at once")
    return finding, reasons


def _redacted(objects: Objects) -> list[str]:
    """Of which kinds objects are not whole, and what they lack."""
    paths: dict[str, set[str]] = {}
    counts: Counter[str] = Counter()
    for (resource, _, _), manifest in objects.by_key.items():
        if found := redacted_paths(manifest):
            paths.setdefault(resource, set()).update(found)
            counts[resource] += 1
    return [f"{kind}: {', '.join(sorted(paths[kind]))} is redacted, and lacks in {counts[kind]} objects" for kind in sorted(paths)]


def _turn(resource: str) -> int:
    return {DEFINITIONS: 0, NAMESPACES: 1}.get(resource, 2)
