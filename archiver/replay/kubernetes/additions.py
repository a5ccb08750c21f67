"""What lives in the scope of a restore and was not there at the point -> what mode ``exact`` deletes of it, and what it leaves. Pure.

    lives, not known at the point -> its kind and namespace were covered by a complete list, and nothing about them is in doubt?
        no -> skipped. yes -> made after the point, by its own creation time? no -> skipped: it was there, and nobody knows as what
            yes -> Argo CD or Helm manages it? -> skipped without a word for it. Else -> delete, by its UID and resourceVersion

Definitions and namespaces are never deleted: everything in them would go, captured or not. Nor are volumes and their claims: data may go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from archiver.clock import from_text, to_text
from archiver.errors import Invalid
from archiver.replay.kubernetes import manifests
from archiver.replay.kubernetes.findings import managed_elsewhere
from archiver.replay.kubernetes.owners import levels, owner_label, owner_uids, references
from archiver.replay.kubernetes.plan import Action, ClusterPlan
from archiver.replay.kubernetes.selection import DEFINITIONS, NAMESPACES, VOLUMES, Key, RestoreScope, Selection

if TYPE_CHECKING:
    from archiver.kubernetes.records import Resource
    from archiver.replay.kubernetes.manifests import Manifest

_NEVER = (DEFINITIONS, NAMESPACES)


def listed_resources(selection: Selection) -> dict[str, Resource]:
    """The resources of which the target must be asked what lives there."""
    return {name: selection.resources[name] for name in sorted({each.resource for each in selection.covered}) if name not in _NEVER}


def add_deletions(
    plan: ClusterPlan,
    selection: Selection,
    scope: RestoreScope,
    live: Mapping[Key, Manifest],
    *,
    moment: int,
    most: int,
    managed: bool,
) -> None:
    """Add to ``plan`` what is to be deleted, after everything that is written, and what is left and why.

    ``live``: everything that the target holds of ``listed_resources``. ``moment``: the point as a time, at the latest; 0 where the target
    is another cluster, whose creation times say nothing of it. ``most``: how many deletions the user expects. ``managed``: also what
    Argo CD and Helm manage. The plan is refused when more would be deleted, or anything of the history in use is not known. ``Invalid``
    for a part of the scope that means nothing, neither at the point nor now.
    """
    found = owners_first(list(_added(selection, scope, live, moment=moment, managed=managed)), live)
    _require_meant(selection, found)
    deleted = [action for action in found if action.do == "delete"]
    skipped = [action for action in plan.actions if action.do == "skip"]
    written = [action for action in plan.actions if action.do != "skip"]
    plan.actions = [*written, *deleted, *(action for action in found if action.do == "skip"), *skipped]
    if deleted and plan.gaps:
        plan.refusals.append(
            f"{len(deleted)} objects would be deleted, and what was there at the point is not certain ({plan.gaps[0]});"
            " leave --delete out, or choose a point outside of the gap"
        )
    if len(deleted) > most:
        plan.refusals.append(f"{len(deleted)} objects would be deleted, and --delete {most} allows {most}; --dry-run lists them")


def owners_first(actions: list[Action], live: Mapping[Key, Manifest]) -> list[Action]:
    """``actions`` with their levels of ownership, in their order: what is owned comes back while its owner lives."""
    owned = {manifests.uid(live[action.key]): owner_uids(live[action.key]) for action in actions if action.do == "delete"}
    depth = levels(owned)
    ranked = [
        msgspec.structs.replace(action, level=depth[manifests.uid(live[action.key])]) if action.do == "delete" else action
        for action in actions
    ]
    return sorted(ranked, key=lambda action: (action.level, action.key))


def _added(selection: Selection, scope: RestoreScope, live: Mapping[Key, Manifest], *, moment: int, managed: bool) -> Iterator[Action]:
    uids = {manifests.uid(there): "/".join(part for part in key if part) for key, there in live.items()}
    for key, there in live.items():
        resource = selection.resources[key[0]]
        if key in selection.known or key[0] in _NEVER or not scope.has(resource, key[1], key[2]):
            continue
        if not scope.labels.matches(there["metadata"].get("labels")):
            continue
        why = _left(selection, key, there, moment=moment, managed=managed)
        if why:
            yield Action("skip", *key, why)
        else:
            yield Action("delete", *key, "; ".join(_reasons(there, uids)), finding="delete")


def _left(selection: Selection, key: Key, there: Manifest, *, moment: int, managed: bool) -> str:
    """Why it is not deleted; empty: it is."""
    if key[0] in VOLUMES:
        return "was not there at the point, and stays all the same: its data may go with it, and is in no archive"
    if manifests.terminating(there):
        return "was not there at the point, and is being deleted already"
    # The newest stream counts where several cover a namespace.
    covered = next((each for each in selection.covered if each.resource == key[0] and each.namespace in ("", key[1])), None)
    if covered is None:
        return "whether it was there at the point is not known: no complete list had its namespace"
    if covered.doubt:
        return f"whether it was there at the point is not certain: {covered.doubt}"
    if moment:
        made = _made(there)
        if made <= moment:
            return f"it was made by the point ({to_text(made) if made else 'its time is not known'}), and the archive does not know as what"
    argo = managed_elsewhere(there)
    return f"{argo}; --delete-managed deletes it too" if argo and not managed else ""


def _made(there: Manifest) -> int:
    try:
        return from_text(str(there["metadata"].get("creationTimestamp", "")))
    except ValueError:
        return 0


def _reasons(there: Manifest, uids: Mapping[str, str]) -> Iterator[str]:
    yield "was not there at the point"
    owners = [reference for reference in references(there) if reference.get("uid", "") in uids]
    if owners:
        yield f"owned by {', '.join(map(owner_label, owners))}"
    finalizers = there["metadata"].get("finalizers")
    if isinstance(finalizers, list) and finalizers:
        yield f"goes when its finalizers have done their work ({', '.join(map(str, finalizers))})"


def _require_meant(selection: Selection, found: list[Action]) -> None:
    """``Invalid`` for what was named and is neither known at the point nor lives."""
    spaces = {action.namespace for action in found}
    names = {action.key for action in found} | {(selection.resources[action.resource].plural, *action.key[1:]) for action in found}
    for each in selection.unmet:
        if not found or not (each.namespace in spaces or each.name in names or not (each.namespace or each.name)):
            raise Invalid(each.error.message, hint=each.error.hint)
