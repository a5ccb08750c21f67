"""Carries out a plan against an API server, and reads back whether it is what was captured.

Order: definitions until they are served, namespaces, then objects level by level of ownership; each object is created and at once given its
status, because a controller that sees a run without its status starts it again. New UIDs replace old ones in owner references.
Running the same plan again after a failure goes on: what was created then is found and refused or replaced, as the plan's flags say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from archiver.clock import Clock
from archiver.errors import Invalid, Refused, Unavailable
from archiver.journal import kubernetes_json as kj
from archiver.journal.kubernetes_records import Resource
from archiver.replay.kubernetes import manifests
from archiver.replay.kubernetes.manifests import Manifest
from archiver.replay.kubernetes.plan import DEFINITIONS, Action, ClusterPlan, Objects

CONCURRENCY = 16
TRIES = 5
SERVED_SECONDS = 60.0

Progress = Callable[[str, int, int], None]


class Answer(Protocol):
    """A response that was read whole."""

    status: int
    body: bytes
    retry_after: float


class Server(Protocol):
    """An API server: the session that capture uses too."""

    server: str

    async def get(self, path: str, params: Mapping[str, str] | None = None, *, seconds: float = 30.0) -> Answer:
        """One GET."""
        ...

    async def send(self, method: str, path: str, body: bytes | None = None, *, seconds: float = 30.0) -> Answer:
        """One POST, PUT or DELETE with a JSON body."""
        ...


class ClusterReport(msgspec.Struct):
    """What a restore did."""

    created: int = 0
    replaced: int = 0
    skipped: int = 0
    statuses: int = 0
    uids: dict[str, str] = {}
    """Captured UID -> UID in the target, for stores that keep UIDs of objects."""
    orphans: list[str] = []
    """Objects that lost a reference to an owner."""
    failures: list[str] = []
    """What the server refused: object and its message."""
    differences: list[str] = []
    """What differs from what was captured after read-back: object and path."""


class _Served(msgspec.Struct):
    name: str
    namespaced: bool = False


class _ResourceList(msgspec.Struct):
    resources: list[_Served] | None = None


async def live_objects(server: Server, resources: Mapping[str, Resource]) -> dict[tuple[str, str, str], Manifest]:
    """Every object of ``resources`` that the target holds. A resource that it does not serve has none."""
    found: dict[tuple[str, str, str], Manifest] = {}
    for name, resource in resources.items():
        following = ""
        while True:
            params = {"limit": "500"} | ({"continue": following} if following else {})
            answer = await server.get(_path(resource), params)
            if answer.status == 404:
                break
            if answer.status != 200:
                raise Unavailable(
                    f"{server.server} answers {_message(answer)} for a list of {name}",
                    hint="does the user of the kubeconfig have the right to list it?",
                )
            page = kj.page.decode(answer.body)
            for item in page.items or []:
                manifest = kj.document(bytes(item), resource.group, resource.version, resource.kind)
                found[name, *manifests.identity(manifest)] = manifest
            following = page.metadata.continue_
            if not following:
                break
    return found


class Restorer:
    """One run of one plan."""

    def __init__(
        self,
        server: Server,
        plan: ClusterPlan,
        objects: Objects,
        live: Mapping[tuple[str, str, str], Manifest],
        clock: Clock,
        progress: Progress,
    ) -> None:
        self._server = server
        self._plan = plan
        self._objects = objects
        self._live = live
        self._clock = clock
        self._progress = progress
        self._subresources: dict[str, bool] = {}
        self._gate = asyncio.Semaphore(CONCURRENCY)
        # An owner that lives in the target, and is no part of the plan, keeps its UID.
        self.report = ClusterReport(uids={manifests.uid(manifest): manifests.uid(manifest) for manifest in live.values()})

    async def run(self) -> ClusterReport:
        """Do what the plan says, then compare. Raises ``Refused`` when the plan has refusals, or when a kind is not served.

        An object that the server does not take is reported and the others go on. Cancellation leaves what was created by then.
        """
        if self._plan.refusals:
            more = f" and {len(self._plan.refusals) - 1} more" if len(self._plan.refusals) > 1 else ""
            raise Refused(f"{self._plan.refusals[0]}{more}", hint="restore into an empty target, or say --overwrite")
        actions = [action for action in self._plan.actions if action.do != "skip"]
        self.report.skipped = len(self._plan.actions) - len(actions)
        definitions = [action for action in actions if action.resource.startswith(f"{DEFINITIONS}.")]
        rest = [action for action in actions if not action.resource.startswith(f"{DEFINITIONS}.")]
        await self._level(definitions, "definitions")
        await self._wait_until_served({action.resource for action in rest})
        await self._namespaces()
        for level in sorted({action.level for action in rest}):
            await self._level([action for action in rest if action.level == level], f"objects, level {level}")
        await self._compare([action for action in rest if action.do != "skip"])
        return self.report

    async def _level(self, actions: list[Action], what: str) -> None:
        done = 0
        queue = iter(actions)

        async def work() -> None:
            nonlocal done
            for action in queue:
                await self._one(action)
                done += 1
                self._progress(what, done, len(actions))

        async with asyncio.TaskGroup() as group:
            for _ in range(min(CONCURRENCY, len(actions))):
                group.create_task(work())

    async def _one(self, action: Action) -> None:
        key = (action.resource, action.namespace, action.name)
        manifest = self._objects.by_key[key]
        resource = self._plan.resources[action.resource]
        wanted, lost = manifests.desired(manifest, self.report.uids)
        label = _label(key)
        if lost:
            self.report.orphans.append(f"{label}: {', '.join(lost)}")
        # The status of a definition is the server's own business: whether and how it is served.
        status = wanted.pop("status", None) if resource.plural != DEFINITIONS else None
        path = _path(resource, action.namespace)
        if action.do == "replace":
            metadata = self._live[key]["metadata"]
            wanted["metadata"] |= {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
            answer = await self._send("PUT", f"{path}/{action.name}", wanted)
        else:
            answer = await self._send("POST", path, wanted)
        if answer.status not in (200, 201):
            self.report.failures.append(f"{label}: {_message(answer)}")
            return
        created: Manifest = msgspec.json.decode(answer.body)
        self.report.uids[manifests.uid(manifest)] = manifests.uid(created)
        if action.do == "replace":
            self.report.replaced += 1
        else:
            self.report.created += 1
        if status is not None and self._subresources.get(action.resource):
            created["status"] = status
            answer = await self._send("PUT", f"{path}/{action.name}/status", created)
            if answer.status != 200:
                self.report.failures.append(f"{label} status: {_message(answer)}")
                return
            self.report.statuses += 1

    async def _send(self, method: str, path: str, body: Manifest) -> Answer:
        """One write; a busy server is waited for. A lost answer is asked again: what exists by then answers 409, which is looked at."""
        data = msgspec.json.encode(body)
        lost = False
        for attempt in range(TRIES):
            try:
                answer = await self._server.send(method, path, data)
            except Unavailable:
                if attempt == TRIES - 1:
                    raise
                lost = True
                await self._clock.sleep(0.2 * 2**attempt)
                continue
            if answer.status == 409 and lost and method == "POST":
                return await self._server.get(f"{path}/{body['metadata']['name']}")
            if answer.status not in (429, 503, 504):
                return answer
            await self._clock.sleep(answer.retry_after or 0.2 * 2**attempt)
        return answer

    async def _wait_until_served(self, names: set[str]) -> None:
        """A definition is usable when discovery and a list answer, not when its conditions say so."""
        deadline = self._clock.monotonic() + SERVED_SECONDS
        missing = set(names)
        while missing:
            groups: dict[tuple[str, str], set[str]] = {}
            for name in sorted(missing):
                resource = self._plan.resources[name]
                version = (resource.group, resource.version)
                if version not in groups:
                    answer = await self._server.get(f"/apis/{version[0]}/{version[1]}" if version[0] else f"/api/{version[1]}")
                    listed = msgspec.json.decode(answer.body, type=_ResourceList).resources if answer.status == 200 else []
                    groups[version] = {each.name for each in listed or []}
                if resource.plural in groups[version] and (await self._server.get(_path(resource), {"limit": "1"})).status == 200:
                    self._subresources[name] = f"{resource.plural}/status" in groups[version]
                    missing.discard(name)
            if missing:
                if self._clock.monotonic() > deadline or not any(
                    action.resource.startswith(f"{DEFINITIONS}.") for action in self._plan.actions
                ):
                    raise Refused(
                        f"the target does not serve {', '.join(sorted(missing))}",
                        hint="install the definitions first (the chart of the application), or capture them: rbac.clusterScoped",
                    )
                await self._clock.sleep(0.2)

    async def _namespaces(self) -> None:
        for name in self._plan.namespaces:
            answer = await self._server.get(f"/api/v1/namespaces/{name}")
            if answer.status == 404:
                body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
                answer = await self._send("POST", "/api/v1/namespaces", body)
            if answer.status == 403:
                continue  # a namespaced user cannot look; creating objects will say what is missing
            if answer.status not in (200, 201, 409):
                raise Refused(f"namespace {name}: {_message(answer)}", hint="create the namespace first")

    async def _compare(self, actions: list[Action]) -> None:
        self._progress("comparing", 0, len(actions))
        names = sorted({action.resource for action in actions})
        live = await live_objects(self._server, {name: self._plan.resources[name] for name in names})
        for action in actions:
            key = (action.resource, action.namespace, action.name)
            found = live.get(key)
            if found is None:
                self.report.differences.append(f"{_label(key)}: is not there")
                continue
            wanted = self._objects.by_key[key]
            if not self._subresources.get(action.resource) and "status" not in found:
                wanted = {name: value for name, value in wanted.items() if name != "status"}
            self.report.differences += [f"{_label(key)}: {path}" for path in manifests.differing(wanted, found, self.report.uids)]
        self._progress("comparing", len(actions), len(actions))


def _label(key: tuple[str, str, str]) -> str:
    return f"{key[0]} {key[1]}/{key[2]}" if key[1] else f"{key[0]} {key[2]}"


def _path(resource: Resource, namespace: str = "") -> str:
    root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    return f"{root}/namespaces/{namespace}/{resource.plural}" if namespace else f"{root}/{resource.plural}"


def _message(answer: Answer) -> str:
    """Code and reason only: the message of a validation error quotes values."""
    try:
        status = kj.status.decode(answer.body)
    except msgspec.MsgspecError:
        return str(answer.status)
    return f"{answer.status} {status.reason or ''}".strip()


def check_identity(captured: str, target: str, *, into_source: bool) -> None:
    """Raise ``Refused`` when the target is the captured cluster itself, ``Invalid`` when that cannot be told."""
    if not target:
        raise Invalid("the target does not tell its identity", hint="use a kubeconfig with a certificate authority")
    if captured and captured == target and not into_source:
        raise Refused(
            "the target is the captured cluster itself", hint="restore into another cluster, or say --into-source if that is meant"
        )
