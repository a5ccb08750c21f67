"""Which controllers live in a target, as far as their Leases say: they act on what a restore brings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from archiver.clock import from_text
from archiver.kubernetes import json_fields as kj
from archiver.kubernetes.url_paths import segment

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.replay.kubernetes.patient_api import PatientApi

_OF_THE_CLUSTER = ("kube-system", "kube-node-lease")
"""Namespaces of the Leases of the cluster's own parts, which act on no custom resources."""
_SLACK = 30_000_000
"""Microseconds by which the clocks of holders and of this machine may differ."""


class LivingLeases(msgspec.Struct):
    """What was found."""

    names: list[str] = []
    """``namespace/name``, sorted."""
    unseen: list[str] = []
    """Namespaces whose Leases the target's user may not list; ``*``: all others."""


async def living_leases(server: PatientApi, namespaces: list[str], clock: Clock) -> LivingLeases:
    """Leases that somebody holds and renews, in all namespaces, or in ``namespaces`` where the target's user may not list all.

    Raises ``Unavailable`` when the target does not answer.
    """
    found = LivingLeases()
    page, _ = await server.page("/apis/coordination.k8s.io/v1/leases")
    if page is not None:
        found.names = _living(server, page, clock)
        return found
    found.unseen.append("*")
    for namespace in namespaces:
        page, answer = await server.page(f"/apis/coordination.k8s.io/v1/namespaces/{segment(namespace)}/leases")
        if page is not None:
            found.names += _living(server, page, clock)
        elif answer.status != 404:
            found.unseen.append(namespace)
    return found


def _living(server: PatientApi, page: kj.Page, clock: Clock) -> list[str]:
    names = []
    for item in page.items or []:
        lease = server.manifest(item)
        metadata = lease["metadata"]
        if metadata.get("namespace") not in _OF_THE_CLUSTER and _held(lease.get("spec") or {}, clock.now()):
            names.append(f"{metadata.get('namespace', '')}/{metadata.get('name', '')}")
    return sorted(names)


def _held(spec: dict[str, Any], now: int) -> bool:
    if not spec.get("holderIdentity"):
        return False
    try:
        renewed = from_text(str(spec["renewTime"]))
        return renewed + int(spec.get("leaseDurationSeconds") or 0) * 1_000_000 + _SLACK > now
    except (KeyError, ValueError, OverflowError):
        return True
