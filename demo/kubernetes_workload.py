"""A controller at work: one thread that starts runs and moves their status on, one request after the other."""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from datetime import UTC, datetime
from typing import Any

from archiver.clock import SystemClock
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, path

NAMESPACE = "agents"
_FINALIZER = "agents.proompteng.ai/runtime-cleanup"
_PAUSE_SECONDS = 0.002
_CONTROLLER = "agents-controller"
_SCRIPT = "cleanup-script"


class Workload:
    """Works between ``go`` and ``hold``. An error is raised by the next ``hold`` or ``go``."""

    def __init__(self, plane: ControlPlane) -> None:
        self.writes = 0
        self.priorities = False
        """Whether AgentRun has the field ``priority`` yet."""
        self._plane = plane
        self._chance = random.Random(7)
        self._clock = SystemClock()
        self._orchestrations: list[dict[str, Any]] = []
        self._open: list[dict[str, Any]] = []
        self._going = threading.Event()
        self._ended = False
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)

    def seed(self) -> None:
        """What runs belong to: agents, providers, schedules, budgets, orchestrations."""
        for number in range(5):
            self._create("AgentProvider", f"provider-{number}", {"binary": "/bin/agent", "argsTemplate": ["--task", "{{ task }}"]})
            config = {"model": f"m{number}", "nested": {"null": None, "text": "née", "list": [1, 2.5, True]}}
            self._create("Agent", f"agent-{number}", {"providerRef": {"name": f"provider-{number}"}, "config": config, "limit": 10})
            self._create("Schedule", f"nightly-{number}", {"cron": f"{number} 3 * * *", "targetRef": {"name": f"agent-{number}"}})
            self._create("Budget", f"budget-{number}", {"limits": {"tokens": "1000000"}, "currency": "EUR"})
            made = self._create("Orchestration", f"flow-{number}", {"entrypoint": "plan", "steps": [{"name": "plan"}, {"name": "build"}]})
            self._orchestrations.append(made)

    def go(self) -> None:
        """Work until ``hold``."""
        self._raise()
        self._going.set()
        if not self._thread.is_alive():
            self._thread.start()

    def hold(self) -> None:
        """Return once no request is under way; none begins before ``go``."""
        self._going.clear()
        with self._lock:
            pass
        self._raise()

    def close(self) -> None:
        """End the thread."""
        self._ended = True
        self._going.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def delete_everything_of(self, *kinds: str) -> dict[str, int]:
        """Delete all objects of the kinds and spoil the agents; resource name to the resourceVersion of the last write to it."""
        # The API server keeps managers of what is there: who only takes fields away is named by nobody.
        forced = {"metadata": {"finalizers": None, "annotations": {"demo/cleanup": "forced"}}}
        for kind in kinds:
            for item in self._plane.request("GET", path(kind, NAMESPACE))["items"]:
                if item["metadata"].get("finalizers"):
                    self._patch(path(kind, NAMESPACE, item["metadata"]["name"]), forced, by=_SCRIPT)
            self._plane.request("DELETE", path(kind, NAMESPACE))
        spoiled: dict[str, Any] = {}
        for item in self._plane.request("GET", path("Agent", NAMESPACE))["items"]:
            spoiled = self._patch(path("Agent", NAMESPACE, item["metadata"]["name"]), {"spec": {"limit": 1}}, by=_SCRIPT)
        self._open.clear()
        return {"agents.agents.proompteng.ai": int(spoiled["metadata"]["resourceVersion"])}

    def _raise(self) -> None:
        if self._error:
            raise self._error

    def _work(self) -> None:
        try:
            while not self._ended:
                self._going.wait()
                with self._lock:
                    if self._going.is_set() and not self._ended:
                        self._step()
                time.sleep(_PAUSE_SECONDS)
        except BaseException as error:  # noqa: BLE001 -- it is raised where somebody waits
            self._error = error

    def _step(self) -> None:
        if len(self._open) < 3 or self._chance.random() < 0.2:
            self._begin()
        else:
            self._advance(self._chance.choice(self._open))

    def _begin(self) -> None:
        """A run of an orchestration, and the agent's run that it owns."""
        flow = self._chance.choice(self._orchestrations)
        name = f"run-{self.writes}"
        spec = {"orchestrationRef": {"name": flow["metadata"]["name"]}, "deliveryId": name}
        outer = self._create("OrchestrationRun", name, spec, owner=flow)
        wish: dict[str, Any] = {"agentRef": {"name": f"agent-{self._chance.randint(0, 4)}"}, "idempotencyKey": name}
        wish["implementation"] = {"text": "x" * self._chance.randint(10, 3000), "tags": ["a", None]}
        if self.priorities:
            wish["priority"] = self._chance.randint(1, 9)
        self._open.append(self._create("AgentRun", name, wish, owner=outer, finalizers=[_FINALIZER]))

    def _advance(self, run: dict[str, Any]) -> None:
        """Pending to Running to Succeeded, each through the status subresource as a controller does."""
        now = datetime.fromtimestamp(self._clock.now() // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        name = run["metadata"]["name"]
        if "status" not in run:
            digest = hashlib.sha256(json.dumps(run["spec"], sort_keys=True).encode()).hexdigest()
            status: dict[str, Any] = {"phase": "Running", "startedAt": now, "specHash": digest, "runtimeRef": {"name": f"job-{name}"}}
        else:
            condition = {"type": "Complete", "status": "True", "reason": "Done", "lastTransitionTime": now}
            status = {**run["status"], "phase": "Succeeded", "finishedAt": now, "conditions": [condition]}
        moved = self._patch(path("AgentRun", NAMESPACE, name, status=True), {"status": status})
        self._open.remove(run)
        if status["phase"] == "Running":
            self._open.append(moved)
        else:
            self._patch(path("AgentRun", NAMESPACE, name), {"metadata": {"finalizers": None, "labels": {"done": "true"}}})

    def _create(
        self, kind: str, name: str, spec: dict[str, Any], *, owner: dict[str, Any] | None = None, finalizers: list[str] | None = None
    ) -> dict[str, Any]:
        wanted = custom_resource(kind, NAMESPACE, name, spec, owner=owner, labels={"app.kubernetes.io/managed-by": "demo"})
        wanted["metadata"]["annotations"] = {"demo/number": str(self.writes)}
        if finalizers:
            wanted["metadata"]["finalizers"] = finalizers
        self.writes += 1
        made: dict[str, Any] = self._plane.request("POST", f"{path(kind, NAMESPACE)}?fieldManager={_CONTROLLER}", wanted)
        return made

    def _patch(self, where: str, patch: dict[str, Any], *, by: str = _CONTROLLER) -> dict[str, Any]:
        self.writes += 1
        made: dict[str, Any] = self._plane.request(
            "PATCH", f"{where}?fieldManager={by}", patch, content_type="application/merge-patch+json"
        )
        return made
