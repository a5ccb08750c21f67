"""Which cluster it is, as far as the rights allow to see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from archiver.errors import Unavailable
from archiver.kubernetes import json_fields as kj
from archiver.untrusted import Unreadable

if TYPE_CHECKING:
    from archiver.kubernetes.answer import Answer


class Cluster(msgspec.Struct, frozen=True):
    """Identity of a cluster."""

    authority: str
    """Fingerprint of the CA bundle; empty when unknown."""
    uid: str
    """UID of namespace ``kube-system``; empty where it may not be read."""

    @property
    def text(self) -> str:
        """As ``kubernetes_records.Watch.cluster`` holds it."""
        return f"ca={self.authority} uid={self.uid}"

    @classmethod
    def of(cls, text: str) -> Cluster:
        """The identity that ``text`` holds."""
        parts = dict(part.partition("=")[::2] for part in text.split())
        return cls(parts.get("ca", ""), parts.get("uid", ""))

    def replaces(self, before: Cluster) -> bool:
        """Whether this is not the cluster that ``before`` was: by UID where both are known, else by CA. Where only a new CA is known it may
        be the same cluster after all; its resourceVersions are then not compared, which costs a list and loses nothing.
        """
        if self.uid and before.uid:
            return self.uid != before.uid
        return bool(self.authority and before.authority) and self.authority != before.authority


class ApiServer(Protocol):
    """An API server, as far as it is asked here; ``Api`` is one."""

    server: str
    authority: str

    async def get(self, path: str) -> Answer:
        """One GET."""
        ...


async def identify(api: ApiServer) -> Cluster:
    """Ask the API server. ``Unavailable`` when it does not answer or is busy; what its user may not read stays empty."""
    answer = await api.get("/api/v1/namespaces/kube-system")
    if answer.status == 429 or answer.status >= 500:
        raise Unavailable(f"{api.server} answers {answer.status} when asked which cluster it is")
    try:
        uid = kj.head.decode(answer.body).metadata.uid if answer.status == 200 else ""
    except Unreadable:
        raise Unavailable(f"{api.server} answers what nobody can read when asked which cluster it is") from None
    return Cluster(api.authority, uid)
