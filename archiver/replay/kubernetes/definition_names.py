"""Whose the names of a definition are: within a group, the definition that comes first has them, and one that comes later is not served."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from archiver.replay.kubernetes.manifests import Manifest


def accepted(definition: Manifest) -> bool:
    """Whether its names are its own, as far as the server has said."""
    return str(condition(definition, "NamesAccepted").get("status", "True")) != "False"


def rival(definition: Manifest, others: Iterable[Manifest]) -> str:
    """Name of the one of ``others`` that has a name which ``definition`` claims; empty when none has."""
    name, group = definition["metadata"]["name"], definition["spec"].get("group")
    resources, kinds = _claimed(definition)
    for other in others:
        if other["metadata"]["name"] == name or other["spec"].get("group") != group or not accepted(other):
            continue
        theirs = _claimed(other)
        if resources & theirs[0] or kinds & theirs[1]:
            return str(other["metadata"]["name"])
    return ""


def condition(definition: Manifest, name: str) -> dict[str, Any]:
    """What its status says of ``name``; empty when it says nothing."""
    conditions = (definition.get("status") or {}).get("conditions") or []
    return next((each for each in conditions if isinstance(each, dict) and each.get("type") == name), {})


def _claimed(definition: Manifest) -> tuple[set[str], set[str]]:
    """Names of the resource, and of its kind: the server lets no two definitions of a group have one of either."""
    names = definition["spec"].get("names") or {}
    kind = names.get("kind", "")
    resources = {names.get("plural", ""), names.get("singular") or str(kind).lower(), *(names.get("shortNames") or [])}
    return resources - {""}, {kind, names.get("listKind") or f"{kind}List"} - {"", "List"}
