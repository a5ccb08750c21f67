"""Which kinds a target serves, and why it does not serve the others. A new definition is usable a moment after it was taken, or never."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archiver.kubernetes.url_paths import collection, member
from archiver.replay.kubernetes import manifests
from archiver.replay.kubernetes.definition_names import accepted, condition
from archiver.replay.kubernetes.target_objects import served, shown, told

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from archiver.clock import Clock
    from archiver.kubernetes.records import Resource
    from archiver.replay.kubernetes.manifests import Manifest
    from archiver.replay.kubernetes.patient_api import PatientApi

SERVED_SECONDS = 60.0
_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_PAUSE = 0.1


class ServedKinds:
    """Of the ``resources`` of a plan, by ``plural.group``."""

    def __init__(self, server: PatientApi, resources: Mapping[str, Resource], clock: Clock) -> None:
        self._server, self._resources, self._clock = server, resources, clock
        self.with_status: dict[str, bool] = {}
        """Of each kind that is served, whether its status is a subresource there."""

    async def wait(self, names: Iterable[str], refused: Mapping[str, str]) -> dict[str, str]:
        """Wait until all of ``names`` are served, or will not be: those, and why. ``refused``: definitions that were not taken, and why.

        A definition is usable when discovery and a list answer, not when its conditions say so.
        """
        deadline = self._clock.monotonic() + SERVED_SECONDS
        missing, hopeless = {name for name in names if name not in self.with_status}, dict[str, str]()
        while True:
            missing -= await self._served(missing)
            for name in sorted(missing):
                why, final = (f"its definition was not taken: {refused[name]}", True) if name in refused else await self._why(name)
                if final or self._clock.monotonic() > deadline:
                    hopeless[name] = why
            missing -= hopeless.keys()
            if not missing:
                return hopeless
            await self._clock.sleep(_PAUSE)

    async def _served(self, names: Iterable[str]) -> set[str]:
        versions: dict[tuple[str, str], set[str]] = {}
        found = set()
        for name in sorted(names):
            resource = self._resources[name]
            version = (resource.group, resource.version)
            if version not in versions:
                versions[version] = set(await served(self._server, *version))
            if resource.plural in versions[version] and await self._lists(resource):
                self.with_status[name] = f"{resource.plural}/status" in versions[version]
                found.add(name)
        return found

    async def _lists(self, resource: Resource) -> bool:
        """Whether a list is answered; a user who may not list will be told at the first object."""
        return (await self._server.get(collection(resource), {"limit": "1"})).status in (200, 403)

    async def _why(self, name: str) -> tuple[str, bool]:
        """Why ``name`` is not served, and whether it will not be either."""
        answer = await self._server.get(member(_PATH, name))
        if answer.status == 404:
            return "there is no definition of it", True
        if answer.status != 200:
            return f"its definition cannot be looked at: {told(answer)}", True
        return _lacking(self._server.manifest(answer.body), self._resources[name])


def _lacking(definition: Manifest, resource: Resource) -> tuple[str, bool]:
    """What keeps a ``definition`` that is there from serving ``resource``, and whether that stays so."""
    if manifests.terminating(definition):
        return "its definition is being deleted", True
    versions = [str(each.get("name", "")) for each in definition["spec"].get("versions", []) if each.get("served")]
    if resource.version not in versions:
        return f"its definition serves it as {', '.join(versions) or 'nothing'}, and it was captured as {resource.version}", True
    if not accepted(definition):
        conflict = condition(definition, "NamesAccepted")
        return f"its names are taken by another definition: {shown(str(conflict.get('message', '')))}", True
    return "its definition is there, and does not answer yet", False


def not_served(why: Mapping[str, str]) -> str:
    """``why`` of ``ServedKinds.wait``, for people."""
    return "; ".join(f"{name} ({reason})" for name, reason in sorted(why.items()))
