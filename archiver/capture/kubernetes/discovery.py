"""Which resources the settings select, and which of them the API server serves, by discovery alone: no right to read CRDs is needed."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from archiver.capture.kubernetes.failures import failure_of
from archiver.errors import Invalid, Unavailable
from archiver.kubernetes import json_fields as kj
from archiver.kubernetes import url_paths
from archiver.kubernetes.answer import not_an_api_server
from archiver.kubernetes.list_pages import api_version
from archiver.kubernetes.records import Resource
from archiver.untrusted import Unreadable, decode_untrusted

if TYPE_CHECKING:
    from archiver.capture.kubernetes.config import KubernetesConfig
    from archiver.kubernetes.api import Api

_T = TypeVar("_T")
_FORM = re.compile(r"(\*|[a-z0-9]([a-z0-9-]*[a-z0-9])?)(\.[a-z0-9*]([a-z0-9.*-]*[a-z0-9])?)?")

DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)


class Selector(msgspec.Struct, frozen=True):
    """One line of ``resources``: ``*.example.com`` (every resource of that group and the groups below it), ``plural.group``, or
    ``plural`` of the core group. A group may contain ``*``.
    """

    plural: str
    group: str

    @classmethod
    def parse(cls, text: str) -> Selector:
        """``Invalid`` for what is none of the three forms."""
        if text == "*" or not _FORM.fullmatch(text):
            raise Invalid(f"{text!r} does not name resources", hint="write *.example.com, plural.group, or plural for the core group")
        plural, _, group = text.partition(".")
        return cls(plural, group)

    def group_matches(self, group: str) -> bool:
        """Whether resources of ``group`` can match; the core group is the empty string."""
        if not self.group or not group:
            return self.group == group
        return fnmatchcase(group, self.group) or (self.plural == "*" and group.endswith(f".{self.group}"))

    def matches(self, group: str, plural: str) -> bool:
        """Whether that resource is selected."""
        return self.plural in ("*", plural) and self.group_matches(group)


class _Version(msgspec.Struct):
    version: str


class _Group(msgspec.Struct):
    name: str
    versions: list[_Version]
    preferredVersion: _Version | None = None  # noqa: N815 -- as the API names it

    def ordered(self) -> list[str]:
        """Versions, the preferred one first."""
        preferred = [self.preferredVersion.version] if self.preferredVersion else []
        return preferred + [each.version for each in self.versions if each.version not in preferred]


class _Groups(msgspec.Struct):
    kind: Literal["APIGroupList"]
    groups: list[_Group] | None = None


class _Named(msgspec.Struct):
    name: str
    kind: str
    namespaced: bool
    verbs: list[str] | None = None


class _Resources(msgspec.Struct):
    kind: Literal["APIResourceList"]
    groupVersion: str  # noqa: N815
    resources: list[_Named] | None = None


class Discovery(msgspec.Struct, frozen=True):
    """One poll's answer."""

    resources: list[Resource]
    """Selected, served, and able to list and watch; each in its group's preferred version that serves it."""
    unanswered: frozenset[str]
    """Groups that did not answer: nothing is known about their resources this time."""


async def discover(api: Api, selectors: list[Selector]) -> Discovery:
    """Ask the API server. ``Unavailable`` when it does not answer at all; ``Invalid`` when it refuses discovery."""
    groups = [_Group("", [_Version("v1")])] if any(not each.group for each in selectors) else []
    if any(each.group for each in selectors):
        answer = _decode(api, await _get(api, "/apis"), _Groups)
        groups += [each for each in answer.groups or [] if any(selector.group_matches(each.name) for selector in selectors)]
    found: dict[tuple[str, str], Resource] = {}
    unanswered: set[str] = set()
    for group in groups:
        for version in group.ordered():
            path = url_paths.group_version(group.name, version)
            try:
                listed = _decode(api, await _get(api, path), _Resources)
            except Unavailable:
                listed = None
            if listed is None or listed.groupVersion != api_version(path):
                unanswered.add(group.name)
                continue
            for each in listed.resources or []:
                selected = any(selector.matches(group.name, each.name) for selector in selectors)
                if selected and "/" not in each.name and {"list", "watch"} <= set(each.verbs or []):
                    found.setdefault((group.name, each.name), Resource(group.name, version, each.name, each.kind, each.namespaced))
    return Discovery(sorted(found.values(), key=lambda each: (each.group, each.plural)), frozenset(unanswered))


def unmatched(lines: list[str], found: Discovery) -> list[str]:
    """Lines of ``resources`` that select nothing which is served, as far as every group that they may mean has answered."""
    selectors = [(line, Selector.parse(line)) for line in lines]
    return [
        line
        for line, selector in selectors
        if not any(selector.matches(each.group, each.plural) for each in found.resources)
        and not any(selector.group_matches(group) for group in found.unanswered)
    ]


async def missing_namespaces(api: Api, namespaces: list[str]) -> list[str]:
    """Those that do not exist, as far as the rights tell."""
    found = []
    for name in namespaces:
        try:
            if (await api.get(url_paths.namespace(name))).status == 404:
                found.append(name)
        except Unavailable:
            continue
    return found


async def selects_nothing(api: Api, config: KubernetesConfig, found: Discovery) -> list[str]:
    """Lines of the settings that select nothing, each with the setting's name."""
    lines = [f"resources: {line}" for line in unmatched(config.resources, found)]
    captured = msgspec.structs.replace(found, resources=[*found.resources, DEFINITIONS]) if config.custom_resource_definitions else found
    unknown = set(unmatched([line.partition("/")[0] for line in config.redact], captured))
    # The values of what was meant are captured.
    lines += [f"redact: {line}" for line in config.redact if line.partition("/")[0] in unknown]
    return lines + [f"namespaces: {name}" for name in await missing_namespaces(api, config.namespaces)]


async def _get(api: Api, path: str) -> bytes:
    answer = await api.get(path)
    if answer.status != 200:
        failure = failure_of(answer.status, answer.body, answer.retry_after)
        if failure.kind == "denied":
            raise Invalid(
                f"{api.server} refuses discovery: {failure.message}",
                hint="the credentials are wrong or expired, or the group system:discovery is not bound",
            )
        raise Unavailable(f"{api.server} answers {failure.message} for {path}")
    return answer.body


def _decode(api: Api, body: bytes, form: type[_T]) -> _T:
    try:
        return decode_untrusted(body, form, most=kj.OBJECT_BYTES)
    except Unreadable:
        raise not_an_api_server(api.server) from None
