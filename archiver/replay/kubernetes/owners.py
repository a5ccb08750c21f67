"""Who owns an object: its owner references, under which UIDs its owners live now, and in which order owners and owned are written. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archiver.replay.kubernetes.manifests import Manifest


def references(manifest: Manifest) -> list[Manifest]:
    """Its owner references, as captured."""
    return list(manifest["metadata"].get("ownerReferences") or [])


def owner_uids(manifest: Manifest) -> list[str]:
    """UIDs of its owners, as captured."""
    return [str(reference.get("uid", "")) for reference in references(manifest)]


def owner_label(reference: Manifest) -> str:
    """For people: ``Kind/name``."""
    return f"{reference.get('kind', '')}/{reference.get('name', '')}"


def rebound(captured: list[Manifest], uids: Mapping[str, str]) -> tuple[list[Manifest], list[str]]:
    """References to the same owners under their new UIDs, and the labels of owners that are not in ``uids``.

    A reference to an owner that does not exist would have the object collected at once, so an unresolved one is left out.
    """
    kept: list[Manifest] = []
    lost: list[str] = []
    for reference in captured:
        new = uids.get(reference.get("uid", ""))
        if new is None:
            lost.append(owner_label(reference))
        else:
            kept.append({**reference, "uid": new})
    return kept, lost


def levels(owned: Mapping[str, list[str]]) -> dict[str, int]:
    """UID -> UIDs of its owners, to UID -> level: greater than that of every owner that is a key too; 0 without such owners.

    A cycle, which the API server does not prevent, is broken at one place; what hangs below it still stands below it.
    """
    depth: dict[str, int] = {}
    for start in owned:
        path = [start]
        on_path = {start}
        while path:
            one = path[-1]
            above = [owner for owner in owned[one] if owner in owned and owner not in on_path]
            waiting = next((owner for owner in above if owner not in depth), None)
            if one not in depth and waiting is not None:
                path.append(waiting)
                on_path.add(waiting)
                continue
            depth.setdefault(one, max((depth[owner] for owner in above), default=-1) + 1)
            on_path.discard(path.pop())
    return depth
