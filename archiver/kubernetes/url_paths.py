"""Names of Kubernetes -> paths below an API server's URL. Pure.

A name may come from a file, from an archive or from another server: whatever is in it, it stays one segment of the path.
"""

from __future__ import annotations

import urllib.parse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archiver.kubernetes.records import Resource

NAMESPACES = "/api/v1/namespaces"


def segment(name: str) -> str:
    """``name`` as one segment of a path: some kinds take any name that holds neither ``/`` nor ``%``."""
    quoted = urllib.parse.quote(name, safe="")
    # Clients resolve dots, quoted or not. Nothing can have these names, and the server is to say so.
    return "".join("%252E" for _ in quoted) if quoted in (".", "..") else quoted


def group_version(group: str, version: str) -> str:
    """Path of one version of a group; empty: of the core group."""
    return f"/apis/{segment(group)}/{segment(version)}" if group else f"/api/{segment(version)}"


def namespace(name: str) -> str:
    """Path of one namespace."""
    return member(NAMESPACES, name)


def collection(resource: Resource, space: str = "") -> str:
    """Path of the objects of ``resource`` in the namespace ``space``; empty: in all, or of a cluster-scoped one."""
    root = group_version(resource.group, resource.version)
    within = f"{root}/namespaces/{segment(space)}" if space else root
    return f"{within}/{segment(resource.plural)}"


def member(path: str, name: str) -> str:
    """Path of one object of the collection at ``path``."""
    return f"{path}/{segment(name)}"
