"""Who owns which fields of an object, for server-side apply. Pure.

What a restore writes belongs to the restore: whoever had applied the object before would meet a conflict, and could take no field away. So
managedFields are put back as they were captured; the API server takes them as they are where nothing else is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archiver.replay.kubernetes.manifests import Manifest

OURS = "archiver"
"""The manager that the API server makes of our user agent."""

_OWNER = 'k:{"uid":"'


def managers_of(manifest: Manifest) -> list[dict[str, Any]]:
    """Entries of managedFields; empty where there are none, or where they are not entries."""
    found = manifest["metadata"].get("managedFields")
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def fields_of(manifest: Manifest) -> dict[str, Any]:
    """The fields of the object that anybody manages, of whichever version of its kind; empty where managedFields were emptied."""
    found: dict[str, Any] = {}
    for entry in managers_of(manifest):
        if isinstance(fields := entry.get("fieldsV1"), dict):
            found = together(fields, found)
    return found


def given_back(captured: Manifest, written: Manifest, there: Manifest, uids: Mapping[str, str]) -> list[dict[str, Any]]:
    """The entries that the object shall have: those captured, owners by their new UIDs, and of others those that wrote to it since.

    ``written``: the object as the restore had it when it had written it; ``there``: as it is now. Empty when nothing was captured.
    """
    entries = [{**entry, "fieldsV1": _renamed(entry.get("fieldsV1"), uids)} for entry in managers_of(captured)]
    if not entries:
        return []
    known = [_name(entry) for entry in (*entries, *managers_of(written))]
    return entries + [entry for entry in managers_of(there) if entry.get("manager") != OURS and _name(entry) not in known]


def added_back(captured: Manifest, there: Manifest, uids: Mapping[str, str]) -> list[dict[str, Any]]:
    """The entries of an object that what was captured was merged into: those that it has but for the restore's own, and those captured."""
    entries = {_name(entry): entry for entry in managers_of(there) if entry.get("manager") != OURS}
    for entry in managers_of(captured):
        known = entries.get(_name(entry), entry)
        fields = together(_renamed(entry.get("fieldsV1"), uids), known.get("fieldsV1"))
        entries[_name(entry)] = {**known, "fieldsV1": fields}
    return list(entries.values())


def together(fields: Any, others: Any) -> Any:
    """The fields that either has."""
    if not isinstance(fields, dict) or not isinstance(others, dict):
        return fields
    return {**others, **{key: together(below, others[key]) if key in others else below for key, below in fields.items()}}


def _name(entry: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(entry.get(key, "")) for key in ("manager", "operation", "subresource", "apiVersion"))


def _renamed(fields: Any, uids: Mapping[str, str]) -> Any:
    """``fields`` with owners by their new UIDs; what is not below ``ownerReferences`` has no such key."""
    if not isinstance(fields, dict):
        return fields
    return {_key(str(key), uids): _renamed(below, uids) for key, below in fields.items()}


def _key(key: str, uids: Mapping[str, str]) -> str:
    if not key.startswith(_OWNER):
        return key
    uid = key[len(_OWNER) :].partition('"')[0]
    return key.replace(uid, uids.get(uid, uid)) if uid else key
