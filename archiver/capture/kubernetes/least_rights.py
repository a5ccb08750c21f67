"""The least rights that capture of a cluster needs, as Roles and bindings that an administrator applies as they are. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from archiver.capture.kubernetes.config import KubernetesConfig
    from archiver.capture.kubernetes.rights import Right

_API = "rbac.authorization.k8s.io"
_ACCOUNT = "system:serviceaccount:"
_NAME = "archiver-capture"


def least_rights(config: KubernetesConfig, rights: Iterable[Right], user: str) -> list[dict[str, Any]]:
    """Objects for ``kubectl apply``: a Role in each namespace, a ClusterRole for the rest, bound to ``user``."""
    by_scope: dict[str, dict[tuple[str, str], set[str]]] = {namespace: {} for namespace in [*config.namespaces, ""]}
    for right in rights:
        by_scope.setdefault(right.namespace, {}).setdefault((right.group, right.resource), set()).add(right.verb)
    documents = []
    for namespace, found in by_scope.items():
        rules: list[dict[str, Any]] = [
            {"apiGroups": [group], "resources": [resource], "verbs": sorted(verbs)} for (group, resource), verbs in sorted(found.items())
        ]
        if not namespace:
            # The cluster's identity: tells a replaced cluster from a restarted one.
            rules.append({"apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"]})
        if rules:
            documents += _bound(namespace, rules, user)
    return documents


def _bound(namespace: str, rules: list[dict[str, Any]], user: str) -> list[dict[str, Any]]:
    kind = "Role" if namespace else "ClusterRole"
    metadata = {"name": _NAME, "namespace": namespace} if namespace else {"name": _NAME}
    return [
        {"apiVersion": f"{_API}/v1", "kind": kind, "metadata": metadata, "rules": rules},
        {
            "apiVersion": f"{_API}/v1",
            "kind": f"{kind}Binding",
            "metadata": metadata,
            "roleRef": {"apiGroup": _API, "kind": kind, "name": _NAME},
            "subjects": [_subject(user)],
        },
    ]


def _subject(user: str) -> dict[str, str]:
    if user.startswith(_ACCOUNT) and user.count(":") == 3:
        _, _, namespace, name = user.split(":")
        return {"kind": "ServiceAccount", "namespace": namespace, "name": name}
    return {"kind": "User", "apiGroup": _API, "name": user or "archiver"}
