"""Custom resources shaped like the first users': 20 namespaced kinds in ten ``*.proompteng.ai`` groups, one version, with status.

As theirs do, eleven kinds keep unknown fields somewhere, two have CEL rules, and runs are owned by what they run.
"""

from __future__ import annotations

import copy
from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer", "format": "int64"}
TIME: Schema = {"type": "string", "format": "date-time"}
FLAG: Schema = {"type": "boolean"}
ANYTHING: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
REFERENCE: Schema = {"type": "object", "required": ["name"], "properties": {"name": TEXT, "namespace": TEXT}}
MAP: Schema = {"type": "object", "additionalProperties": TEXT}


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


_SPECS: dict[tuple[str, str], dict[str, Schema]] = {
    ("agents", "Agent"): {"providerRef": REFERENCE, "memoryRef": REFERENCE, "config": ANYTHING, "defaults": MAP, "limit": NUMBER},
    ("agents", "AgentRun"): {
        "agentRef": REFERENCE,
        "idempotencyKey": TEXT,
        "implementation": ANYTHING,
        "parameters": MAP,
        "runtime": ANYTHING,
        "ttlSecondsAfterFinished": NUMBER,
    },
    ("agents", "AgentProvider"): {"binary": TEXT, "argsTemplate": _list(TEXT), "envTemplate": MAP, "inputFiles": _list(ANYTHING)},
    ("agents", "ImplementationSpec"): {"summary": TEXT, "text": TEXT, "labels": _list(TEXT), "source": ANYTHING},
    ("agents", "ImplementationSource"): {
        "provider": TEXT,
        "poll": {"type": "object", "properties": {"seconds": NUMBER}},
        "scope": ANYTHING,
    },
    ("agents", "Memory"): {"type": TEXT, "connection": REFERENCE, "capabilities": _list(TEXT), "dimension": NUMBER},
    ("agents", "VersionControlProvider"): {
        "provider": TEXT,
        "apiBaseUrl": TEXT,
        "repositoryPolicy": {"type": "object", "properties": {"allow": _list(TEXT)}},
    },
    ("orchestration", "Orchestration"): {"entrypoint": TEXT, "steps": _list(ANYTHING), "policies": ANYTHING},
    ("orchestration", "OrchestrationRun"): {"orchestrationRef": REFERENCE, "parameters": MAP, "deliveryId": TEXT},
    ("approvals", "ApprovalPolicy"): {"mode": TEXT, "subjects": _list(TEXT), "timeoutSeconds": NUMBER},
    ("budgets", "Budget"): {"limits": MAP, "currency": TEXT, "windowSeconds": NUMBER},
    ("security", "SecretBinding"): {"subjects": _list(REFERENCE), "allowedSecrets": _list(TEXT)},
    ("signals", "Signal"): {"channel": TEXT, "payload": ANYTHING},
    ("signals", "SignalDelivery"): {"signalRef": REFERENCE, "deliveryId": TEXT, "payload": ANYTHING},
    ("schedules", "Schedule"): {"cron": TEXT, "timezone": TEXT, "targetRef": REFERENCE, "suspend": FLAG},
    ("artifacts", "Artifact"): {"storageRef": REFERENCE, "key": TEXT, "bytes": NUMBER},
    ("workspaces", "Workspace"): {"size": TEXT, "accessModes": _list(TEXT), "ttlSeconds": NUMBER},
    ("tools", "Tool"): {"image": TEXT, "command": _list(TEXT), "timeoutSeconds": NUMBER},
    ("tools", "ToolRun"): {"toolRef": REFERENCE, "parameters": MAP, "retries": NUMBER},
    ("swarm", "Swarm"): {"domains": _list(TEXT), "cadence": MAP, "settings": ANYTHING},
}

_RULES = {
    "Agent": [{"rule": "!has(self.limit) || self.limit > 0", "message": "limit must be positive"}],
    "AgentRun": [{"rule": "has(self.agentRef)", "message": "an agent must be named"}],
}

_CONDITION: Schema = {
    "type": "object",
    "required": ["type", "status"],
    "properties": {"type": TEXT, "status": TEXT, "reason": TEXT, "message": TEXT, "lastTransitionTime": TIME},
}
_STATUS: dict[str, Schema] = {
    "phase": TEXT,
    "observedGeneration": NUMBER,
    "startedAt": TIME,
    "finishedAt": TIME,
    "specHash": TEXT,
    "runtimeRef": REFERENCE,
    "steps": _list({"type": "object", "properties": {"name": TEXT, "phase": TEXT}}),
    "conditions": {**_list(_CONDITION), "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
}


def plural(kind: str) -> str:
    """The resource name of a kind, as in URLs."""
    lower = kind.lower()
    if lower.endswith(("y", "ies")):
        return f"{lower[:-1]}ies"
    return lower + ("es" if lower.endswith("s") else "s")


def definition(group: str, kind: str, spec: dict[str, Schema], rules: list[dict[str, str]] | None = None) -> dict[str, Any]:
    """One CustomResourceDefinition: namespaced, version v1alpha1, with a status subresource. Callers may change it: it shares nothing."""
    schema: Schema = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": spec, **({"x-kubernetes-validations": rules} if rules else {})},
            "status": {"type": "object", "properties": _STATUS},
        },
    }
    version = {
        "name": "v1alpha1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [{"name": "Phase", "type": "string", "jsonPath": ".status.phase"}],
    }
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural(kind), "singular": kind.lower()}
    return copy.deepcopy(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{names['plural']}.{group}"},
            "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [version]},
        }
    )


def definitions() -> list[dict[str, Any]]:
    """All 20, in a fixed order; ``ControlPlane.apply(*definitions())`` installs them."""
    return [definition(f"{group}.proompteng.ai", kind, spec, _RULES.get(kind)) for (group, kind), spec in _SPECS.items()]


def kinds() -> list[tuple[str, str, str]]:
    """(group, kind, resource name) of all 20, in the order of ``definitions``."""
    return [(f"{group}.proompteng.ai", kind, plural(kind)) for group, kind in _SPECS]


def custom_resource(
    kind: str,
    namespace: str,
    name: str,
    spec: dict[str, Any] | None = None,
    *,
    owner: dict[str, Any] | None = None,
    labels: dict[str, str] | None = None,
) -> dict[str, Any]:
    """An object of one of the 20 kinds, not yet created; ``owner`` is a created object of the same namespace."""
    group = next(group for group, known in _SPECS if known == kind)
    metadata: dict[str, Any] = {"name": name, "namespace": namespace}
    if labels:
        metadata["labels"] = labels
    if owner:
        reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"]}
        metadata["ownerReferences"] = [{**reference, "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}]
    return {"apiVersion": f"{group}.proompteng.ai/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec or {}}


def path(kind: str, namespace: str, name: str = "", *, status: bool = False) -> str:
    """The URL path of a collection, an object or its status subresource, for ``ControlPlane.request``."""
    group = next(group for group, known in _SPECS if known == kind)
    parts = [f"/apis/{group}.proompteng.ai/v1alpha1/namespaces/{namespace}/{plural(kind)}", name, "status" if status else ""]
    return "/".join(part for part in parts if part)
