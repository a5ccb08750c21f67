"""A cluster as the subject of a trial: folders of YAML are applied; it is restored into fresh API servers, and objects are compared."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.error
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from fidelity.fingerprint import Fingerprint
from fidelity.manifests import DEFINITION, Identity, Manifest, State, identity
from fidelity.outcome import Outcome, Point
from tests.servers.archiver import Archiver
from tests.servers.controlplane import ControlPlane

SOURCE = "cluster"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_SETTLE_SECONDS = 60.0
_SERVERS_OWN = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink")


@dataclass(frozen=True)
class FreshCluster:
    """An empty API server where a point can be restored."""

    cluster: Cluster
    plane: ControlPlane

    @property
    def address(self) -> str:
        """Its kubeconfig."""
        return f"kubeconfig:{self.plane.kubeconfig}"

    def fingerprint(self) -> Fingerprint:
        """The objects that are in it now."""
        return self.cluster.look(self.plane)


class Cluster:
    """``plane``, which is brought from one state to the next."""

    def __init__(self, plane: ControlPlane, all_states: list[State]) -> None:
        self._plane, self._states = plane, all_states
        self._resources = _resources(plane, all_states)
        self._namespaces = {"", "default"} | {identity(each)[2] for state in all_states for each in state.objects}
        self._errors: list[str] = []
        self._applied = self._freshly = 0
        self._discovered: dict[str, dict[str, dict[str, Any]]] = {}
        """API version to what it serves, by kind."""

    def around(self) -> AbstractContextManager[object]:
        """Capture leaves nothing at a cluster."""
        return nullcontext()

    def sources(self) -> dict[str, Any]:
        """Every kind of the folders in their namespaces, whether it is there already or not."""
        settings = {"kubeconfig": str(self._plane.kubeconfig), "resources": sorted(self._resources), "discovery_seconds": 1}
        return {SOURCE: {"kubernetes": {**settings, "namespaces": sorted(self._namespaces - {""})}}}

    def prepare(self) -> None:
        """The first state comes while capture looks on."""

    def captured(self, archiver: Archiver) -> None:
        """Once there is a journal."""
        archiver.wait(lambda: bool(archiver.status()), "there is no journal", 60)

    def changes(self, archiver: Archiver, stops: int) -> Iterator[Point]:
        """Every state in its turn; points are evenly spread over them."""
        chosen = {len(self._states) * step // stops - 1 for step in range(1, stops + 1)} | {len(self._states) - 1}
        before: dict[Identity, Manifest] = {}
        for number, state in enumerate(self._states):
            before = self._bring(before, state)
            if number in chosen:
                yield self._point(archiver, state.label)

    @contextmanager
    def fresh(self) -> Iterator[FreshCluster]:
        """Another API server on the same etcd, in a place of its own."""
        self._freshly += 1
        with ControlPlane.start(etcd=self._plane.etcd, prefix=f"/fresh-{self._freshly}") as plane:
            yield FreshCluster(self, plane)

    def texts(self, plan: dict[str, Any], report: dict[str, Any]) -> Iterator[str]:
        """Each names what it speaks of."""
        yield from plan.get("gaps", [])
        yield from plan.get("notes", [])
        for key in ("orphans", "failures", "differences"):
            yield from report[key]

    def gaps(self, plan: dict[str, Any]) -> list[str]:
        """What is not known."""
        return list(plan.get("gaps", []))

    def outcome(self, points: list[Point]) -> Outcome:
        """What was applied, and what the API server refused."""
        return Outcome("Kubernetes", points, self._applied, self._errors)

    def _bring(self, before: dict[Identity, Manifest], state: State) -> dict[Identity, Manifest]:
        """Write what is new or changed, delete what is gone; what the server refuses is counted."""
        wanted = {identity(each): each for each in state.objects}
        for key in reversed([key for key in before if key not in wanted]):
            self._try("DELETE", self._place(before[key]))
        changed = [each for key, each in wanted.items() if before.get(key) != each]
        for namespace in sorted({identity(each)[2] for each in changed} - {""}):
            with contextlib.suppress(urllib.error.HTTPError):
                self._plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        for each in changed:
            self._write(each)
        self._applied += len(changed)
        return wanted

    def _write(self, manifest: Manifest) -> None:
        """Create it, or put it in the place of what is there; then its status, where that is written apart."""
        place = self._place(manifest)
        if not place:
            return
        head, _, name = place.rpartition("/")
        written = self._try("POST", head, manifest, but=409) or self._replace(place, manifest)
        if manifest["kind"] == DEFINITION and written:
            self._plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"crd/{name}", check=False)
            self._discovered.clear()
        elif manifest.get("status") and written and not written.get("status"):
            self._replace(f"{place}/status", {**written, "status": manifest["status"]})

    def _replace(self, place: str, manifest: Manifest) -> Manifest | None:
        try:
            there = self._plane.request("GET", place.removesuffix("/status"))
        except urllib.error.HTTPError as error:
            error.close()
            return None
        version = {"resourceVersion": there["metadata"]["resourceVersion"]}
        return self._try("PUT", place, {**manifest, "metadata": {**manifest["metadata"], **version}})

    def _try(self, method: str, place: str, body: Manifest | None = None, *, but: int = 0) -> Manifest | None:
        """The answer; ``None`` and an error noted when it is refused, unless with the code ``but``."""
        if not place:
            return None
        try:
            found: Manifest = self._plane.request(method, place, body)
            return found
        except urllib.error.HTTPError as error:
            with error:
                if error.code != but:
                    self._errors.append(f"{method} {place}: {error.code} {_message(error.read())}")
            return None

    def _place(self, manifest: Manifest) -> str:
        """URL path of an object; empty (and an error noted) where its kind is not served."""
        version, kind = manifest["apiVersion"], manifest["kind"]
        served = self._served(version).get(kind) or self._awaited(version, kind)
        if served is None:
            self._errors.append(f"{version} {kind} is not served")
            return ""
        namespace = f"/namespaces/{manifest['metadata'].get('namespace') or 'default'}" if served["namespaced"] else ""
        return f"{_base(version)}{namespace}/{served['name']}/{manifest['metadata']['name']}"

    def _served(self, version: str) -> dict[str, dict[str, Any]]:
        """Resources of an API version by kind; empty where the server does not know it."""
        if version not in self._discovered:
            listed: dict[str, Any] = {"resources": []}
            with contextlib.suppress(urllib.error.HTTPError):
                listed = self._plane.request("GET", _base(version))
            self._discovered[version] = {each["kind"]: each for each in listed["resources"] if "/" not in each["name"]}
        return self._discovered[version]

    def _awaited(self, version: str, kind: str) -> dict[str, Any] | None:
        """The resource of a kind that a definition says is served, once it is listed; ``None`` where no definition says so.

        A definition is established a moment before its kind is listed, and while another of its group changes, a server may say for a
        moment that it does not know the version at all.
        """
        group, _, short = version.rpartition("/")
        definitions = [each["spec"] for each in self._plane.request("GET", _DEFINITIONS)["items"]]
        if not any(
            spec["group"] == group
            and spec["names"]["kind"] == kind
            and any(each["name"] == short and each["served"] for each in spec["versions"])
            for spec in definitions
        ):
            return None
        deadline = time.monotonic() + _SETTLE_SECONDS
        while kind not in self._served(version) and time.monotonic() < deadline:
            self._discovered.pop(version)
            time.sleep(0.1)
        return self._served(version).get(kind)

    def _point(self, archiver: Archiver, label: str) -> Point:
        """Wait until the journal has all of it, and look."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while not self._durable(archiver) and time.monotonic() < deadline:
            time.sleep(0.5)
        time.sleep(2.0)  # deletions have no version that could be waited for
        fingerprint = self.look(self._plane)
        return Point(label, str(archiver.live().get("last_entry", 0)), fingerprint)

    def _durable(self, archiver: Archiver) -> bool:
        lines = archiver.live().get("sources", [])
        for resource in self._resources:
            plural, _, group = resource.partition(".")
            newest = max((int(item["metadata"]["resourceVersion"]) for item in self._items(self._plane, resource)), default=0)
            found = [line for line in lines if line["name"].split("@")[0] == f"{SOURCE}/{group or 'core'}/{plural}"]
            if newest and max((int(line.get("durable_position") or 0) for line in found), default=0) < newest:
                return False
        return True

    def _items(self, plane: ControlPlane, resource: str) -> list[dict[str, Any]]:
        plural, _, group = resource.partition(".")
        version = self._resources[resource] or _served_version(plane, resource)
        where = f"/apis/{group}/{version}/{plural}" if group else f"/api/{version}/{plural}"
        try:
            found = [item for item in plane.request("GET", where)["items"] if item["metadata"].get("namespace", "") in self._namespaces]
        except urllib.error.HTTPError as error:
            error.close()
            return []
        return found

    def look(self, plane: ControlPlane) -> Fingerprint:
        """Objects of every captured kind, and their definitions."""
        found = Fingerprint()
        objects = {resource: self._items(plane, resource) for resource in self._resources}
        alive = {item["metadata"]["uid"]: item["metadata"]["name"] for items in objects.values() for item in items}
        for resource, items in objects.items():
            for item in items:
                metadata = item["metadata"]
                name = "/".join(filter(None, (metadata.get("namespace", ""), metadata["name"])))
                found.schema[resource, name] = json.dumps(_compared(item, alive), indent=1, sort_keys=True, ensure_ascii=False)
        for item in plane.request("GET", _DEFINITIONS)["items"]:
            if item["metadata"]["name"] in self._resources:
                found.schema[DEFINITION, item["metadata"]["name"]] = json.dumps(item["spec"], indent=1, sort_keys=True)
        return found


def _compared(item: dict[str, Any], alive: dict[str, str]) -> dict[str, Any]:
    """All but what a server writes anew. An owner is the same when the object of that name lives under the UID that is named."""
    metadata = {key: value for key, value in item["metadata"].items() if key not in _SERVERS_OWN}
    for owner in metadata.get("ownerReferences", []):
        owner["uid"] = "alive" if alive.get(owner["uid"]) == owner["name"] else "nobody's"
    return {**{key: value for key, value in item.items() if key not in ("apiVersion", "metadata")}, "metadata": metadata}


def _resources(plane: ControlPlane, all_states: list[State]) -> dict[str, str]:
    """``plural.group`` of every kind in the folders to a version that is served; empty where the definition is still to come."""
    found: dict[str, str] = {}
    manifests = [each for state in all_states for each in state.objects]
    for each in manifests:
        if each["kind"] == DEFINITION:
            found[f"{each['spec']['names']['plural']}.{each['spec']['group']}"] = ""
    for version, kind in sorted({(each["apiVersion"], each["kind"]) for each in manifests} - {("v1", "Namespace")}):
        try:
            listed = plane.request("GET", _base(version))["resources"]
        except urllib.error.HTTPError as error:
            error.close()
            continue
        for each in listed:
            if each["kind"] == kind and "/" not in each["name"] and kind != DEFINITION:
                group = version.rpartition("/")[0]
                found[f"{each['name']}.{group}" if group else each["name"]] = version.rpartition("/")[2]
    return found


def _base(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def _served_version(plane: ControlPlane, resource: str) -> str:
    try:
        versions = plane.request("GET", f"{_DEFINITIONS}/{resource}")["spec"]["versions"]
    except urllib.error.HTTPError as error:
        error.close()
        return "-"
    return next(str(each["name"]) for each in versions if each["storage"])


def _message(body: bytes) -> str:
    """What a server says of its refusal: a Status, or a line of text where nothing is served."""
    try:
        return str(json.loads(body or b"{}").get("message", ""))[:300]
    except ValueError:
        return body.decode(errors="replace").strip()[:300]
