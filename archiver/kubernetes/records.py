"""JSON bodies about a Kubernetes source. One stream per resource and scope; objects and watch lines stay as they came.

Evolution: as in ``records``.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Resource(msgspec.Struct, frozen=True):
    """A resource as discovery names it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool


class Watch(msgspec.Struct, frozen=True):
    """A list or a watch began."""

    cluster: str
    """Identity of the cluster as far as the rights allow: CA fingerprint, and the ``kube-system`` UID where it can be read."""
    server: str
    resource: Resource
    namespace: str
    """Empty: all namespaces."""
    epoch: int
    """Counts rewound or replaced clusters: resourceVersions compare only within one epoch (KEP-5504)."""
    resource_version: str
    """Empty for a list; what the watch starts from otherwise."""
    cause: Literal["start", "resume", "expired", "error", "schema_changed", "cluster_changed", "verify"]


class Listing(msgspec.Struct, frozen=True, omit_defaults=True):
    """A consistent list is complete: its items are the K8S_ITEM entries of the stream from ``first`` to here (kind CHECKPOINT)."""

    resource: Resource
    namespace: str
    epoch: int
    resource_version: str
    count: int
    first: int
    """Sequence number of the K8S_WATCH entry that began the list."""
    cause: str
    redacted: list[str] = []
    """Paths that the settings kept out of the stream's objects when it was made (``redaction_mark``)."""


class Verified(msgspec.Struct, frozen=True):
    """The objects that the stream folds to at this entry are those that the API server listed, in the same versions.

    Body of a PROGRESS entry, which is empty otherwise: a program that does not know it loses the proof, and nothing else.
    """

    resource_version: str
    """At which the API server listed."""
    count: int
    digest: str
    """Of what was listed, as ``state_digest`` makes it."""
    listed: int = 0
    """When the list was complete; microseconds since 1970."""


class Absent(msgspec.Struct, frozen=True):
    """An object that was there and is gone: it was deleted between two times, nobody saw when."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    """Last known."""
    not_before: int
    """When it was last known to exist."""
    not_after: int
    """When the list that missed it was answered."""
