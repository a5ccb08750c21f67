"""One captured object beside what lives in the target -> what the plan says of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from archiver.replay.kubernetes import manifests
from archiver.replay.kubernetes.field_managers import managers_of
from archiver.replay.kubernetes.laying_over import laid_over
from archiver.replay.kubernetes.owners import owner_uids

if TYPE_CHECKING:
    from archiver.replay.kubernetes.manifests import Manifest

Finding = Literal["create", "update", "status only", "unchanged", "conflict", "would be collected", "delete", "skipped"]
"""``conflict``: another state lives there, and stays. ``would be collected``: all of its owners are missing. With references to them the
collector would take it at once, so it comes without. ``unchanged``: it lives as it was."""

_SHOWN_PATHS = 5
_LOST_PATHS = 20
_TRACKING = "argocd.argoproj.io/tracking-id"
_INSTANCE = "argocd.argoproj.io/instance"
_MANAGED_BY = "app.kubernetes.io/managed-by"
_RELEASE = "meta.helm.sh/release-name"


def in_place(differing: list[str]) -> Finding:
    """Of an object that is to become what was captured. ``differing``: paths."""
    if not differing:
        return "unchanged"
    return "status only" if all(path.partition(".")[0] == "status" for path in differing) else "update"


def paths_text(paths: list[str]) -> str:
    """Some of them, for people."""
    return f"{', '.join(paths[:_SHOWN_PATHS])}{', …' if len(paths) > _SHOWN_PATHS else ''}"


def differing_without_owners(manifest: Manifest, there: Manifest) -> list[str]:
    """Owners have other UIDs in another cluster: they are not compared."""
    one, other = ({**each, "metadata": {**each["metadata"], "ownerReferences": []}} for each in (manifest, there))
    return manifests.differing(one, other, {})


def differing_merged(manifest: Manifest, there: Manifest, uids: Mapping[str, str]) -> list[str]:
    """Paths in which ``there`` changes when what was captured is laid over it."""
    wanted = laid_over(manifests.desired(manifest, uids)[0], manifest, there)
    return manifests.differing(wanted, there, {owner: owner for owner in owner_uids(wanted)})


def gitops(manifest: Manifest) -> str:
    """Whether Argo CD manages the object, by its marks, and so may take a restore back; empty where no mark is."""
    metadata = manifest["metadata"]
    annotations, labels = _texts(metadata.get("annotations")), _texts(metadata.get("labels"))
    application = annotations.get(_TRACKING, "").partition(":")[0] or labels.get(_INSTANCE, "")
    if application:
        return f"Argo CD manages it (application {application}), and may take this back"
    managers = [str(entry.get("manager", "")) for entry in managers_of(manifest)]
    return "Argo CD manages it, and may take this back" if any(name.startswith("argocd-") for name in managers) else ""


def managed_elsewhere(manifest: Manifest) -> str:
    """Who else brings the object where it is gone, by its marks: Argo CD or Helm; empty where no mark is."""
    if gitops(manifest):
        return "Argo-managed"
    metadata = manifest["metadata"]
    labels, annotations = _texts(metadata.get("labels")), _texts(metadata.get("annotations"))
    return "Helm-managed" if labels.get(_MANAGED_BY) == "Helm" or _RELEASE in annotations else ""


def lost_fields(sent: Any, answered: Any, path: str = "") -> list[str]:
    """Paths of what was sent and is not in the server's answer: its schema does not know them. ``null`` says nothing, and is none."""
    found: list[str] = []
    waiting = [(path, sent, answered)]
    while waiting and len(found) < _LOST_PATHS:
        where, one, other = waiting.pop()
        if isinstance(one, dict) and isinstance(other, dict):
            for key, value in one.items():
                below = f"{where}.{key}" if where else str(key)
                if key in other:
                    waiting.append((below, value, other[key]))
                elif value is not None:
                    found.append(below)
        elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            waiting += [(f"{where}[{number}]", value, other[number]) for number, value in enumerate(one)]
    return sorted(found)


def _texts(found: Any) -> dict[str, str]:
    return {str(key): value for key, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}


class Total(msgspec.Struct, frozen=True):
    """Of one kind, how many objects are to become what."""

    resource: str
    finding: Finding
    objects: int
