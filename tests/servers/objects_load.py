"""Load on custom resources, as a ``Worker`` takes it, and what it needs to be waited for and compared."""

from __future__ import annotations

import contextlib
import time
import urllib.error
from typing import Any

from tests.servers.agents_world import KINDS, AgentsWorld, Identity, snapshot
from tests.servers.archiver import Archiver
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, kinds, path

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class Objects:
    """``step`` is one change; ``pause`` the time to the next."""

    def __init__(self, plane: ControlPlane, namespace: str, seed: int) -> None:
        self.plane, self.namespace = plane, namespace
        self.world = AgentsWorld(plane, namespace, seed)

    def pause(self) -> float:
        return self.world.chance.random() * 0.05

    def step(self) -> None:
        try:
            self.world.change()
        except urllib.error.HTTPError as error:
            # The garbage collector was quicker.
            if error.code not in (404, 409):
                raise

    def settle(self, archiver: Archiver, source: str, timeout: float = 90) -> dict[Identity, dict[str, Any]]:
        """Wait until nothing changes any more and everything is in the journal; what there is then. Nobody may make changes meanwhile."""
        before: dict[Identity, dict[str, Any]] = {}
        deadline = time.monotonic() + timeout
        while (now := snapshot(self.plane, self.namespace)) != before or self._release(now):
            assert time.monotonic() < deadline, "the garbage collector does not come to an end"
            before = now
            time.sleep(0.5)
        wanted = self._mark()

        def durable() -> bool:
            lines = {line["name"].partition("@")[0]: line["durable_position"] for line in archiver.live().get("sources", [])}
            return all(int(lines.get(f"{source}/{stream}") or 0) >= version for stream, version in wanted.items())

        archiver.wait(durable, f"not all objects of {source} are in the journal", timeout)
        return snapshot(self.plane, self.namespace)

    def _mark(self) -> dict[str, int]:
        """One more object of each kind, the last of its stream: stream -> resourceVersion."""
        made = {}
        for group, kind, plural in kinds():
            if kind in KINDS:
                self.world.count += 1
                spec = {"agentRef": {"name": "a"}} if kind == "AgentRun" else {}
                body = custom_resource(kind, self.namespace, f"marker-{self.world.count}", spec)
                answer = self.plane.request("POST", path(kind, self.namespace), body)
                made[f"{group}/{plural}"] = int(answer["metadata"]["resourceVersion"])
        return made

    def _release(self, objects: dict[Identity, dict[str, Any]]) -> bool:
        """Let go what waits for its finalizers only; whether anything is still to be collected."""
        uids = {each["metadata"]["uid"] for each in objects.values()}
        dying = [key for key, each in objects.items() if "deletionTimestamp" in each["metadata"]]
        for kind, namespace, name in dying:
            with contextlib.suppress(urllib.error.HTTPError):
                free = {"metadata": {"finalizers": None}}
                self.plane.request("PATCH", path(kind, namespace, name), free, content_type="application/merge-patch+json")
        owners = (reference["uid"] for each in objects.values() for reference in each["metadata"].get("ownerReferences", []))
        return bool(dying) or any(uid not in uids for uid in owners)


def definitions_of(plane: ControlPlane) -> dict[str, Any]:
    """The specs of the first users' definitions, by name."""
    items = plane.request("GET", DEFINITIONS)["items"]
    return {item["metadata"]["name"]: item["spec"] for item in items if item["spec"]["group"].endswith(".proompteng.ai")}
