"""The custom-resource half: agents, orchestrations and runs with status and owner chains, on a real API server."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from demo.half import Disaster, Fact, Facts, Question
from demo.kubernetes_workload import NAMESPACE, Workload
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import definitions, kinds, path

_NOTHING = hashlib.md5(b"[]").hexdigest()
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class Cluster:
    """See ``demo.half.Half``."""

    name = "agents"
    title = "Kubernetes"

    def __init__(self) -> None:
        self._source: ControlPlane | None = None
        self._target: ControlPlane | None = None
        self._workload: Workload | None = None
        self._last: dict[str, int] = {}

    @property
    def changes(self) -> int:
        """Writes made by the workload so far."""
        return self._workload.writes if self._workload else 0

    def prepare(self) -> str:
        """Start the API server, install the 20 kinds and create what the workload builds on."""
        self._source = ControlPlane.start(controllers=True, definitions=definitions())
        self._source.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        self._workload = Workload(self._source)
        self._workload.seed()
        counted = ", ".join(f"{fact.note.partition(' ')[0]} {name}" for name, fact in self.facts().items() if fact.value != _NOTHING)
        return f"kube-apiserver {self._source.request('GET', '/version')['gitVersion']}; {counted}"

    def settings(self) -> dict[str, Any]:
        """All kinds of the groups, in one namespace."""
        resources = {"resources": ["*.proompteng.ai"], "namespaces": [NAMESPACE]}
        return {"kubernetes": {"kubeconfig": str(self._plane.kubeconfig), "discovery_seconds": 1, **resources}}

    def captured(self, status: dict[str, Any]) -> bool:
        """A line with a checkpoint for each kind."""
        listed = [line["name"] for line in status.get("sources", []) if line["checkpoint"]]
        return all(any(name.startswith(f"{self.name}/{group}/{plural}") for name in listed) for group, _, plural in kinds())

    def start(self) -> None:
        """Let the workload run."""
        self._running_workload.go()

    def evolve(self) -> str:
        """A new version of a definition: a field more."""
        runs = next(each for each in definitions() if each["spec"]["names"]["kind"] == "AgentRun")
        schema = runs["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        schema["properties"]["spec"]["properties"]["priority"] = {"type": "integer"}
        self._plane.apply(runs)
        self._running_workload.priorities = True
        return "the definition of AgentRun gets a field more"

    def hold(self) -> None:
        """Wait for the request under way."""
        self._running_workload.hold()

    def facts(self) -> Facts:
        """Objects of each kind, and the definitions."""
        return facts(self._plane)

    def durable(self, status: dict[str, Any]) -> bool:
        """Compare the journal's position of each kind with the last write to it."""
        lines = {line["name"]: line for line in status.get("sources", [])}
        reached = True
        for resource, version in self._last.items():
            plural, _, group = resource.partition(".")
            found = [line for name, line in lines.items() if name.startswith(f"{self.name}/{group}/{plural}")]
            reached = reached and any(int(line.get("durable_position") or 0) >= version for line in found)
        return reached

    def ruin(self) -> Disaster:
        """A script cleans up what it should not."""
        workload = self._running_workload
        self._last = workload.delete_everything_of("AgentRun", "OrchestrationRun", "Budget")
        return Disaster(
            "a clean-up script with the wrong selector",
            ["kubectl delete agentruns,orchestrationruns,budgets --all", "kubectl patch agents --all: limit = 1"],
        )

    def questions(self, point: str, folder: Path) -> list[Question]:
        """About one agent, which comes back as a file."""
        agent = f"agents.agents.proompteng.ai/{NAMESPACE}/agent-0"
        return [
            Question("who changed this agent", ["log", "--kind", "agents", "--like", f"{NAMESPACE}/agent-0", "--from", point]),
            Question("what became of it", ["diff", "--object", agent, "--from", point], differs=True),
            Question(
                "that agent alone, as it was, as a file",
                ["restore", "--at", point, "--source", self.name, "--object", agent, "--to", str(folder / "agent-0")],
            ),
        ]

    def target(self) -> str:
        """An API server of its own with nothing in it but the namespace."""
        self._target = ControlPlane.start(etcd=self._plane.etcd, prefix="/fresh")
        self._target.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        return f"kubeconfig:{self._target.kubeconfig}"

    def restored(self) -> Facts:
        """The same facts at the fresh API server."""
        assert self._target is not None
        return facts(self._target)

    def accepts(self, name: str, noted: Fact, restored: Fact) -> bool:  # noqa: ARG002 -- the protocol's
        """Nothing but equality."""
        return False

    def close(self) -> None:
        """End workload and servers."""
        if self._workload:
            self._workload.close()
        for plane in (self._target, self._source):
            if plane:
                plane.close()

    @property
    def _plane(self) -> ControlPlane:
        assert self._source is not None
        return self._source

    @property
    def _running_workload(self) -> Workload:
        assert self._workload is not None
        return self._workload


def facts(plane: ControlPlane) -> Facts:
    """Spec, status, labels, annotations, finalizers and owners of every object, as the API server tells them."""
    found: Facts = {}
    installed = [item for item in plane.request("GET", _DEFINITIONS)["items"] if item["spec"]["group"].endswith(".proompteng.ai")]
    found["definitions"] = Fact(_digest([item["spec"] for item in installed]), f"{len(installed)} kinds")
    served = {(item["spec"]["group"], item["spec"]["names"]["plural"]) for item in installed}
    objects = {
        (group, plural): plane.request("GET", path(kind, NAMESPACE))["items"] if (group, plural) in served else []
        for group, kind, plural in kinds()
    }
    alive = {item["metadata"]["uid"]: item["metadata"]["name"] for items in objects.values() for item in items}
    for (_, plural), items in objects.items():
        compared = sorted((_compared(item, alive) for item in items), key=lambda each: str(each["name"]))
        found[plural] = Fact(_digest(compared), f"{len(items)} objects")
    return found


def _compared(item: dict[str, Any], alive: dict[str, str]) -> dict[str, Any]:
    """What must come back. UIDs cannot: an owner counts as the same when the object of that name lives under the UID that is named."""
    metadata = item["metadata"]
    owners = [
        {**owner, "uid": "alive" if alive.get(owner["uid"]) == owner["name"] else "nobody's"}
        for owner in metadata.get("ownerReferences", [])
    ]
    kept = {key: metadata.get(key) for key in ("name", "namespace", "labels", "annotations", "finalizers")}
    return {**kept, "owners": owners, "spec": item.get("spec"), "status": item.get("status")}


def _digest(value: object) -> str:
    return hashlib.md5(json.dumps(value, sort_keys=True).encode()).hexdigest()
