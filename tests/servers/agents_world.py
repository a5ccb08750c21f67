"""Custom resources that live like the first users': runs with owners, statuses, labels and finalizers come, change and go."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import urllib.error
from typing import Any

from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, kinds, path
from tests.servers.kubernetes_capture import KubernetesCapture

KINDS = ("Agent", "AgentRun", "ToolRun", "Artifact", "Signal", "SignalDelivery")
FINALIZER = "agents.proompteng.ai/runtime-cleanup"
_OWNER_OF = {"AgentRun": "Agent", "ToolRun": "AgentRun", "Artifact": "ToolRun", "SignalDelivery": "Signal"}
_VOLATILE = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")

Identity = tuple[str, str, str]
"""Kind, namespace and name."""


class AgentsWorld:
    """Changes objects of ``namespace`` in a pseudo-random order that ``seed`` fixes."""

    def __init__(self, plane: ControlPlane, namespace: str, seed: int) -> None:
        self.plane = plane
        self.namespace = namespace
        self.chance = random.Random(seed)
        self.count = 0
        self.alive: list[tuple[str, str]] = []

    def churn(self, rounds: int) -> None:
        """That many changes."""
        for _ in range(rounds):
            self.change()

    def change(self) -> None:
        """One change."""
        dice = self.chance.random()
        if dice < 0.4 or len(self.alive) < 4:
            self.create()
            return
        kind, name = self.chance.choice(self.alive)
        if dice < 0.85:
            self.patch(kind, name, self.chance.choice(("labels", "spec", "status", "status", "annotations", "finalizer")))
        else:
            self.delete(kind, name)

    def create(self, kind: str = "") -> dict[str, Any]:
        """A new object, owned by one that is there if its kind is owned at all."""
        self.count += 1
        kind = kind or self.chance.choice(KINDS)
        name = f"{kind.lower()}-{self.count}"
        owners = [each for each in self.alive if each[0] == _OWNER_OF.get(kind)]
        owner = self.read(*self.chance.choice(owners)) if owners else None
        spec = {"agentRef": {"name": "a"}, "parameters": {"text": f'ü\n"{self.count}" \U0001f600'}} if kind == "AgentRun" else {}
        body = custom_resource(kind, self.namespace, name, spec, owner=owner, labels={"n": str(self.count % 3)})
        if self.chance.random() < 0.2:
            body["metadata"]["finalizers"] = [FINALIZER]
        created: dict[str, Any] = self.plane.request("POST", path(kind, self.namespace), body)
        self.alive.append((kind, name))
        return created

    def read(self, kind: str, name: str) -> dict[str, Any] | None:
        """The object, if the garbage collector has not taken it."""
        listed = self.plane.request("GET", f"{path(kind, self.namespace)}?fieldSelector=metadata.name%3D{name}")
        return {"apiVersion": listed["apiVersion"], "kind": kind, **listed["items"][0]} if listed["items"] else None

    def patch(self, kind: str, name: str, what: str) -> None:
        """Change one part of it; nothing if it is gone."""
        if self.read(kind, name) is None:
            self.alive.remove((kind, name))
            return
        self.count += 1
        text = f"v{self.count}"
        status = {"status": {"phase": text, "conditions": [{"type": "Ready", "status": "True", "reason": text}]}}
        parts: dict[str, dict[str, Any]] = {
            "labels": {"metadata": {"labels": {"round": text, "n": None}}},
            "annotations": {"metadata": {"annotations": {"note": f"ä: {text}\n# not a comment"}}},
            "finalizer": {"metadata": {"finalizers": [FINALIZER]}},
            "spec": {"spec": {"parameters": {"text": text, "empty": ""}} if kind in {"AgentRun", "ToolRun"} else {}},
            "status": status,
        }
        where = path(kind, self.namespace, name, status=what == "status")
        self.write("PATCH", where, parts[what])

    def write(self, method: str, where: str, body: dict[str, Any] | None = None) -> None:
        """One request to an object that was there a moment ago; the garbage collector may take it in between."""
        try:
            self.plane.request(method, where, body, content_type="application/merge-patch+json")
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 404:
                raise

    def delete(self, kind: str, name: str, *, release: bool = True) -> None:
        """Delete it, and (``release``) let go of its finalizers; what it owns is collected."""
        self.alive.remove((kind, name))
        if self.read(kind, name) is None:
            return
        where = path(kind, self.namespace, name)
        self.write("DELETE", where)
        if release and self.read(kind, name) is not None:
            self.write("PATCH", where, {"metadata": {"finalizers": None}})

    async def settle(self, capture: KubernetesCapture, *, scope: str = "") -> dict[Identity, dict[str, Any]]:
        """Wait until the garbage collector is done and everything that changed is durable; what there is then."""
        before: dict[Identity, dict[str, Any]] = {}
        deadline = time.monotonic() + 60
        while (now := await asyncio.to_thread(snapshot, self.plane, self.namespace)) != before or self._unsettled(now):
            assert time.monotonic() < deadline
            before = now
            await asyncio.sleep(0.5)
        for group, kind, plural in kinds():
            if kind in KINDS:
                # The last event of its stream.
                self.count += 1
                body = custom_resource(
                    kind, self.namespace, f"marker-{self.count}", {"agentRef": {"name": "a"}} if kind == "AgentRun" else {}
                )
                made = await asyncio.to_thread(self.plane.request, "POST", path(kind, self.namespace), body)
                await capture.until_durable(f"{group}/{plural}{scope}", made["metadata"]["resourceVersion"])
        return await asyncio.to_thread(snapshot, self.plane, self.namespace)

    def _unsettled(self, objects: dict[Identity, dict[str, Any]]) -> bool:
        """Whether something is still to be collected; what waits for a finalizer is let go."""
        uids = {each["metadata"]["uid"] for each in objects.values()}
        dying = [key for key, each in objects.items() if "deletionTimestamp" in each["metadata"]]
        for kind, namespace, name in dying:
            where = path(kind, namespace, name)
            with contextlib.suppress(urllib.error.HTTPError):
                self.plane.request("PATCH", where, {"metadata": {"finalizers": None}}, content_type="application/merge-patch+json")
        owners = (reference["uid"] for each in objects.values() for reference in each["metadata"].get("ownerReferences", []))
        return bool(dying) or any(uid not in uids for uid in owners)


def snapshot(plane: ControlPlane, namespace: str, only: tuple[str, ...] = KINDS) -> dict[Identity, dict[str, Any]]:
    """Every object of ``KINDS`` as the API server lists it."""
    found = {}
    for _, kind, _ in kinds():
        if kind in only:
            for item in plane.request("GET", path(kind, namespace))["items"]:
                found[kind, item["metadata"].get("namespace", ""), item["metadata"]["name"]] = item
    return found


def differences(wanted: dict[Identity, dict[str, Any]], there: dict[Identity, dict[str, Any]]) -> list[str]:
    """What a restore did not bring back; owners are compared by name. The judge of restores, sharing no code with the product."""
    found = [f"missing: {key}" for key in sorted(wanted.keys() - there.keys())]
    found += [f"too much: {key}" for key in sorted(there.keys() - wanted.keys())]
    for key in sorted(wanted.keys() & there.keys()):
        one, other = _plain(wanted[key], wanted), _plain(there[key], there)
        found += [
            f"{key} {part}: {one.get(part)} | {other.get(part)}" for part in sorted({*one, *other}) if one.get(part) != other.get(part)
        ]
    return found


def _plain(item: dict[str, Any], among: dict[Identity, dict[str, Any]]) -> dict[str, Any]:
    names = {each["metadata"]["uid"]: key for key, each in among.items()}
    metadata = {key: value for key, value in item["metadata"].items() if key not in _VOLATILE}
    owners = [{**reference, "uid": names.get(reference["uid"], "nobody")} for reference in metadata.pop("ownerReferences", [])]
    parts = {f"metadata.{key}": value for key, value in metadata.items()}
    return {"owners": owners, **parts, **{key: value for key, value in item.items() if key != "metadata"}}


def wait_for_collector(plane: ControlPlane, namespace: str, seconds: float = 60.0) -> None:
    """Return when the garbage collector has just removed an object whose owner does not exist."""
    owner = {
        "apiVersion": "agents.proompteng.ai/v1alpha1",
        "kind": "Agent",
        "metadata": {"name": "nobody", "uid": "00000000-0000-4000-8000-000000000000"},
    }
    for kind in KINDS:
        spec = {"agentRef": {"name": "a"}} if kind == "AgentRun" else {}
        plane.request("POST", path(kind, namespace), custom_resource(kind, namespace, "canary", spec, owner=owner))
    deadline = time.monotonic() + seconds
    while any(name == "canary" for _, _, name in snapshot(plane, namespace)):
        assert time.monotonic() < deadline, "the garbage collector does not work"
        time.sleep(0.2)
