"""One captured object -> what may be sent to an API server. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archiver.kubernetes import json_fields as kj
from archiver.kubernetes.redaction_mark import APPLIED, APPLIED_PATH, REDACTED, redacted_paths
from archiver.replay.kubernetes.owners import owner_uids, rebound, references

Manifest = dict[str, Any]

SERVER_FIELDS = (
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "managedFields",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    REDACTED,
)
"""Of ``metadata``: set by the server, ignored or refused in a request; and the archive's own mark."""


def namespace(name: str) -> Manifest:
    """A namespace that a restore makes because objects must be somewhere."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def identity(manifest: Manifest) -> tuple[str, str]:
    """Namespace and name."""
    metadata = manifest["metadata"]
    return str(metadata.get("namespace", "")), str(metadata["name"])


def uid(manifest: Manifest) -> str:
    """The UID that the object had."""
    return str(manifest["metadata"].get("uid", ""))


def terminating(manifest: Manifest) -> bool:
    """Whether it was being deleted when it was captured."""
    return bool(manifest["metadata"].get("deletionTimestamp"))


def desired(manifest: Manifest, uids: Mapping[str, str]) -> tuple[Manifest, list[str]]:
    """The object as it is to be created: without server fields, owners by their new UIDs; and the owners that are not in ``uids``.

    Its status stays in, for the status subresource.
    """
    metadata = {key: value for key, value in manifest["metadata"].items() if key not in SERVER_FIELDS}
    kept, lost = rebound(references(manifest), uids)
    if kept:
        metadata["ownerReferences"] = kept
    else:
        metadata.pop("ownerReferences", None)
    return {**manifest, "metadata": metadata}, lost


def with_applied(wanted: Manifest, captured: Manifest, live: Manifest) -> Manifest:
    """What is to replace ``live``, with the copy of `kubectl apply` that lives, where it was cut from what was captured."""
    copy = _annotations(live).get(APPLIED)
    if copy is None or APPLIED_PATH not in redacted_paths(captured):
        return wanted
    return {**wanted, "metadata": {**wanted["metadata"], "annotations": {**_annotations(wanted), APPLIED: copy}}}


def _annotations(manifest: Manifest) -> dict[str, Any]:
    found = manifest["metadata"].get("annotations")
    return found if isinstance(found, dict) else {}


def bare(manifest: Manifest) -> Manifest:
    """The object without what the server sets."""
    return {**manifest, "metadata": {key: value for key, value in manifest["metadata"].items() if key not in SERVER_FIELDS}}


def compared(manifest: Manifest, uids: Mapping[str, str]) -> Manifest:
    """What a restore promises to bring back, for comparison with the live object: everything but the server's own fields."""
    plain, _ = desired(manifest, uids)
    metadata = {key: value for key, value in plain["metadata"].items() if value not in ({}, [], None)}
    return {**plain, "metadata": metadata}


def differing(wanted: Manifest, live: Manifest, uids: Mapping[str, str]) -> list[str]:
    """Paths (two levels deep) in which the live object differs from the captured one; empty when it is what was captured.

    ``uids`` maps captured owners to live ones; the live object's own references are taken as they are. The copy of `kubectl apply` is not
    compared where it was cut from what was captured.
    """
    if APPLIED_PATH in redacted_paths(wanted):
        left = {name: value for name, value in _annotations(live).items() if name != APPLIED}
        live = {**live, "metadata": {**live["metadata"], "annotations": left}}
    one = compared(wanted, uids)
    other = compared(live, {owner: owner for owner in owner_uids(live)})
    paths = []
    for key in sorted({*one, *other}):
        left, right = one.get(key, _MISSING), other.get(key, _MISSING)
        if isinstance(left, dict) and isinstance(right, dict):
            below = sorted({*left, *right})
            paths += [f"{key}.{name}" for name in below if not kj.same(left.get(name, _MISSING), right.get(name, _MISSING))]
        elif not kj.same(left, right):
            paths.append(key)
    return paths


_MISSING = object()
