"""What a target API server holds, as far as a plan must know."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import msgspec

from archiver.errors import Invalid, Unavailable
from archiver.kubernetes import json_fields as kj
from archiver.kubernetes.answer import TooLarge, not_an_api_server
from archiver.kubernetes.list_pages import ListPages
from archiver.kubernetes.page_size import PageSize
from archiver.kubernetes.records import Resource
from archiver.kubernetes.url_paths import collection, group_version, member
from archiver.kubernetes.url_paths import namespace as namespace_path
from archiver.replay.kubernetes import manifests
from archiver.replay.kubernetes.manifests import Manifest
from archiver.replay.kubernetes.owners import references
from archiver.replay.kubernetes.selection import Key, Selection
from archiver.untrusted import Unreadable, decode_untrusted

if TYPE_CHECKING:
    from archiver.kubernetes.answer import Answer
    from archiver.replay.kubernetes.patient_api import PatientApi

_PAGE = 500
_AT_ONCE = 16
_LONGEST_MESSAGE = 500


class _ServedResource(msgspec.Struct):
    name: str
    kind: str = ""
    namespaced: bool = False


class _ResourceList(msgspec.Struct):
    kind: Literal["APIResourceList"]
    resources: list[_ServedResource] | None = None


class _Field(msgspec.Struct):
    reason: str = ""
    field: str = ""


class _Details(msgspec.Struct):
    causes: list[_Field] | None = None


class _Status(msgspec.Struct):
    reason: str | None = None
    message: str | None = None
    details: _Details | None = None


def told(answer: Answer) -> str:
    """Code, reason, and the fields that are wrong, or what admission, quota and rights say. What the server itself finds wrong with a value
    quotes it, and is left out.
    """
    try:
        status = decode_untrusted(answer.body, _Status, most=kj.OBJECT_BYTES)
    except Unreadable:
        return str(answer.status)
    causes = status.details.causes or [] if status.details else []
    fields = ", ".join(f"{cause.field} ({cause.reason})" for cause in causes if cause.field)
    message = status.message or ""
    if answer.status == 400 and not message.startswith("admission webhook"):
        message = ""
    said = fields or shown(message)
    return f"{answer.status} {status.reason or ''}".strip() + (f": {said}" if said else "")


def shown(message: str) -> str:
    """What a server says, as one line of printable signs that ends somewhere."""
    text = "".join(sign if sign.isprintable() else " " for sign in message)
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}…"


async def served(server: PatientApi, group: str, version: str) -> dict[str, _ServedResource]:
    """Resources and subresources (``plural/status``) of one version of a group by name; empty when it is not served."""
    answer = await server.get(group_version(group, version))
    if answer.status != 200:
        return {}
    try:
        listed = decode_untrusted(answer.body, _ResourceList, most=kj.OBJECT_BYTES)
    except Unreadable:
        raise not_an_api_server(server.server) from None
    return {each.name: each for each in listed.resources or []}


async def live_objects(
    server: PatientApi, resources: Mapping[str, Resource], namespaces: set[str], unseen: dict[str, str] | None = None
) -> dict[Key, Manifest]:
    """Every object of ``resources`` that the target holds; of ``namespaces`` only where its user may not list all.

    A resource that it does not serve has none. ``Invalid`` when its user may not look, ``Unavailable`` when it does not answer. With
    ``unseen``, a resource whose list is refused costs no other: it is noted there, and why.
    """
    found: dict[Key, Manifest] = {}
    for name, resource in resources.items():
        refused = await _list(server, name, resource, "", found)
        if refused is not None and refused.status == 403 and resource.namespaced and namespaces:
            for namespace in sorted(namespaces):
                refused = await _list(server, name, resource, namespace, found)
                if refused is not None:
                    break
        if refused is not None and unseen is not None:
            unseen[name] = told(refused)
        elif refused is not None:
            error = Invalid if refused.status in (401, 403) else Unavailable
            raise error(
                f"{server.server} answers {told(refused)} for a list of {name}",
                hint="does the user of the kubeconfig have the right to list it?",
            )
    return found


async def _list(server: PatientApi, name: str, resource: Resource, namespace: str, found: dict[Key, Manifest]) -> Answer | None:
    """Add what there is to ``found``; the answer that refused, ``None`` when all was listed."""
    following, size, pages = "", PageSize(_PAGE), ListPages()
    while True:
        params = {"limit": str(size.limit)} | ({"continue": following} if following else {})
        try:
            page, answer = await server.page(collection(resource, namespace), params, most=size.most_bytes)
        except TooLarge:
            if not size.too_large():
                raise
            continue
        if answer.status == 404:
            return None
        if page is None:
            return answer
        size.came(len(answer.body))
        for item in page.items or []:
            manifest = server.document(item, resource)
            found[name, *manifests.identity(manifest)] = manifest
        try:
            following = pages.follow(page)
        except Unreadable as error:
            raise Unavailable(
                f"{server.server} lists {name}, but {error}", hint="try again; is it one server that answers there?"
            ) from None
        if not following:
            return None


async def living_owners(server: PatientApi, selection: Selection, live: Mapping[Key, Manifest]) -> dict[str, str]:
    """Owners outside the selection that live in the target under the UID they had when captured: it is the captured cluster, or one that
    was brought back with its store. UID to the same UID.
    """
    inside = {manifests.uid(manifest) for manifest in (*selection.objects.by_key.values(), *live.values())}
    outside: dict[str, tuple[str, str, str, str]] = {}
    for (_, namespace, _), manifest in selection.objects.by_key.items():
        for reference in references(manifest):
            if reference.get("uid", "") not in inside:
                outside[reference.get("uid", "")] = (reference["apiVersion"], reference["kind"], namespace, reference["name"])
    versions = sorted({version for version, _, _, _ in outside.values()})
    groups = {version: await served(server, *_split(version)) for version in versions}
    gate = asyncio.Semaphore(_AT_ONCE)

    async def lives(uid: str) -> bool:
        version, kind, namespace, name = outside[uid]
        resource = next((each for each in groups[version].values() if each.kind == kind and "/" not in each.name), None)
        if resource is None:
            return False
        path = collection(Resource(*_split(version), resource.name, kind, resource.namespaced), namespace if resource.namespaced else "")
        async with gate:
            answer = await server.get(member(path, name))
        return answer.status == 200 and manifests.uid(server.manifest(answer.body)) == uid

    answers = await asyncio.gather(*map(lives, outside))
    return {uid: uid for uid, alive in zip(outside, answers, strict=True) if alive}


def _split(version: str) -> tuple[str, str]:
    """Group and version of an ``apiVersion``."""
    group, _, short = version.rpartition("/")
    return group, short


async def unusable_namespaces(server: PatientApi, namespaces: list[str]) -> list[str]:
    """Those that are being deleted, as refusals."""
    found = []
    for name in namespaces:
        answer = await server.get(namespace_path(name))
        if answer.status == 200 and manifests.terminating(server.manifest(answer.body)):
            found.append(f"namespace {name} is being deleted in the target")
    return found
