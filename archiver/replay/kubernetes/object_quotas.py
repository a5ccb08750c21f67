"""Whether the quotas of a target's namespaces have room for what a restore creates: the server's dry run counts each object alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from archiver.kubernetes import url_paths

if TYPE_CHECKING:
    from archiver.replay.kubernetes.patient_api import PatientApi

_PREFIX = "count/"


async def over_quota(server: PatientApi, created: Iterable[tuple[str, str]]) -> list[str]:
    """What does not fit, one line for each quota; ``created``: resource (``plural.group``) and namespace of each object.

    Quotas that the target's user may not list are left out. Raises ``Unavailable`` when the target does not answer.
    """
    by_namespace: dict[str, Counter[str]] = {}
    for resource, namespace in created:
        if namespace:
            by_namespace.setdefault(namespace, Counter())[resource] += 1
    found = []
    for namespace, counts in sorted(by_namespace.items()):
        page, _ = await server.page(f"{url_paths.namespace(namespace)}/resourcequotas")
        for item in (page.items or []) if page is not None else []:
            found += _exceeded(namespace, server.manifest(item), counts)
    return found


def _exceeded(namespace: str, quota: dict[str, Any], counts: Counter[str]) -> list[str]:
    status = quota.get("status") or {}
    hard, used = status.get("hard") or {}, status.get("used") or {}
    found = []
    for name, most in sorted(hard.items()):
        wanted = counts.get(name.removeprefix(_PREFIX), 0) if name.startswith(_PREFIX) else 0
        try:
            room = int(most) - int(used.get(name, 0))
        except ValueError:
            continue  # 1k: written by hand, and rare
        if wanted > room:
            label = quota["metadata"].get("name", "")
            found.append(
                f"namespace {namespace}: {wanted} of {name.removeprefix(_PREFIX)} come, and quota {label} has room for {max(0, room)}"
            )
    return found
