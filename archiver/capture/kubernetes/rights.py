"""Which rights capture needs, and which of them the credentials lack, by SelfSubjectAccessReview."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from archiver.capture.kubernetes.discovery import DEFINITIONS, Selector, discover, selects_nothing
from archiver.capture.kubernetes.failures import failure_of
from archiver.errors import Invalid, Unavailable
from archiver.kubernetes import json_fields as kj
from archiver.kubernetes.answer import not_an_api_server
from archiver.untrusted import Unreadable, decode_untrusted

if TYPE_CHECKING:
    from archiver.capture.kubernetes.config import KubernetesConfig
    from archiver.kubernetes.api import Api
    from archiver.kubernetes.records import Resource

_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
"""From version 1.28 on."""
_AT_ONCE = 8


class Right(msgspec.Struct, frozen=True, order=True):
    """One verb on one resource in one scope."""

    group: str
    resource: str
    verb: str
    namespace: str
    """Empty: in all namespaces, or cluster-scoped."""
    required: bool = True
    """False: capture goes on without it, with a warning."""

    def __str__(self) -> str:
        name = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {name} " + (f"in namespace {self.namespace}" if self.namespace else "cluster-wide")


class RightsReport(msgspec.Struct, frozen=True):
    """Answer of ``check_rights``."""

    server: str
    user: str
    """Who the credentials are to the server; empty where it does not say."""
    resources: list[Resource]
    """What the settings select and the server serves now; empty is worth a warning."""
    checked: list[Right]
    missing: list[Right]
    unmatched: list[str] = []
    unanswered: list[str] = []
    """Groups that the settings select and whose discovery does not answer."""
    """Lines of the settings that select nothing, each with the setting's name."""


class _Review(msgspec.Struct):
    class Status(msgspec.Struct):
        class User(msgspec.Struct):
            username: str = ""

        user: User = msgspec.field(name="userInfo")

    status: Status


class _Answer(msgspec.Struct):
    class Status(msgspec.Struct):
        allowed: bool = False

    status: Status


def needed(config: KubernetesConfig, resources: list[Resource]) -> list[Right]:
    """Every right that capturing ``resources`` takes."""
    rights = [
        Right(each.group, each.plural, verb, namespace)
        for each in resources
        for namespace in ((config.namespaces or [""]) if each.namespaced else [""])
        for verb in ("list", "watch")
    ]
    if config.custom_resource_definitions:
        rights += [Right(DEFINITIONS.group, DEFINITIONS.plural, verb, "", required=False) for verb in ("list", "watch")]
    return rights


async def check_rights(api: Api, config: KubernetesConfig) -> RightsReport:
    """Ask the API server about each right; nothing is changed. ``Invalid`` for wrong settings or credentials, ``Unavailable`` otherwise."""
    found = await discover(api, [Selector.parse(text) for text in config.resources])
    rights = needed(config, found.resources)
    slots = asyncio.Semaphore(_AT_ONCE)

    async def ask(right: Right) -> bool:
        async with slots:
            return await _allowed(api, right)

    allowed = await asyncio.gather(*map(ask, rights))
    missing = [right for right, granted in zip(rights, allowed, strict=True) if not granted]
    return RightsReport(
        api.server,
        await _whoami(api),
        found.resources,
        rights,
        missing,
        await selects_nothing(api, config, found),
        sorted(found.unanswered),
    )


async def _allowed(api: Api, right: Right) -> bool:
    attributes = {"group": right.group, "resource": right.resource, "verb": right.verb}
    if right.namespace:
        attributes["namespace"] = right.namespace
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = await api.post(_REVIEW, msgspec.json.encode(review))
    if answer.status not in (200, 201):
        failure = failure_of(answer.status, answer.body, answer.retry_after)
        if failure.kind == "denied":
            raise Invalid(f"{api.server} refuses the credentials: {failure.message}", hint="see the kubeconfig or the service account")
        raise Unavailable(f"{api.server} does not answer whether it allows to {right}: {failure.message}")
    try:
        return decode_untrusted(answer.body, _Answer, most=kj.OBJECT_BYTES).status.allowed
    except Unreadable:
        raise not_an_api_server(api.server) from None


async def _whoami(api: Api) -> str:
    answer = await api.post(_WHO, msgspec.json.encode({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}))
    if answer.status not in (200, 201):
        return ""
    try:
        return decode_untrusted(answer.body, _Review, most=kj.OBJECT_BYTES).status.user.username
    except Unreadable:
        return ""
