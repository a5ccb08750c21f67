"""Which cluster it is, as far as the rights allow to see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from archiver.journal import kubernetes_json as kj

if TYPE_CHECKING:
    from archiver.kubernetes.api import Api


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


async def identify(api: Api) -> Cluster:
    """Ask the API server. ``Unavailable`` when it does not answer."""
    answer = await api.get("/api/v1/namespaces/kube-system")
    uid = kj.head.decode(answer.body).metadata.uid if answer.status == 200 else ""
    return Cluster(api.authority, uid)
