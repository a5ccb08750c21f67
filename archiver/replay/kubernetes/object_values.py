"""What restored objects have at a path, for whoever asserts something of it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from archiver.errors import Invalid
from archiver.kubernetes.stream_name import StreamName
from archiver.replay.assertions import Answer, Assertion
from archiver.replay.kubernetes.label_selector import LabelSelector
from archiver.replay.kubernetes.manifests import Manifest
from archiver.replay.kubernetes.selection import NAMESPACES, Key, label
from archiver.suggestions import meant

if TYPE_CHECKING:
    from jsonpath import CompoundJSONPath, JSONPath


def compile_path(text: str) -> JSONPath | CompoundJSONPath:
    """A JSONPath of RFC 9535, without the extensions of the library. Raises ``Invalid``.

    Without ``match`` and ``search``, too: whoever writes an object chooses how long its text is, and the time that an expression takes for
    it has no bound.
    """
    from jsonpath import JSONPathEnvironment, JSONPathError

    environment = JSONPathEnvironment(strict=True)
    for name in _UNBOUNDED:
        environment.function_extensions.pop(name, None)
    try:
        return environment.compile(text)
    except (JSONPathError, RecursionError) as error:
        said = str(error).partition(chr(10))[0]
        if any(name in said for name in _UNBOUNDED):
            said += "; match and search are not taken, since their time has no bound"
        raise Invalid(
            f"{text!r} is no JSONPath: {said}",
            hint="as RFC 9535 has it: $.status.conditions[?@.type=='Ready'].status",
        ) from None


_UNBOUNDED = ("match", "search")


def values_of(assertion: Assertion, objects: Mapping[Key, Manifest]) -> Answer:
    """What ``assertion`` asks of ``objects``: how many fit, or every value at its path.

    An object without a value at the path is a fault, unless nothing is what is expected; so is that no object fits.
    """
    selector = LabelSelector.parse(assertion.selector)
    of_kind = {key: manifest for key, manifest in objects.items() if assertion.kind in (key[0], key[0].partition(".")[0])}
    fitting = {
        key: manifest
        for key, manifest in of_kind.items()
        if assertion.namespace in ("", key[1]) and selector.matches(manifest["metadata"].get("labels"))
    }
    if not assertion.path:
        return Answer(list(fitting) if assertion.nothing else [len(fitting)], of=len(of_kind))
    path = compile_path(assertion.path)
    found: list[Any] = []
    for key, manifest in sorted(fitting.items()):
        try:
            values = path.findall(manifest)
        except Exception as error:  # noqa: BLE001 -- whatever a path makes of an object, the others are still asked
            return Answer(fault=f"{label(key)}: the path cannot be followed ({type(error).__name__})")
        if not values and not assertion.nothing:
            return Answer(fault=f"{label(key)} has nothing at the path")
        found += values
    if not fitting and not assertion.nothing:
        return Answer(fault="there is no such object")
    return Answer(found, of=len(fitting))


def require_captured(assertion: Assertion, streams: Iterable[str], keys: Collection[Key]) -> None:
    """``Invalid`` where nothing that ``assertion`` could mean is captured by ``streams``, which have the objects ``keys``: it would say of
    nothing that it is as expected.

    A namespace is known not to be there only where each is watched by itself, or the namespaces are captured too.
    """
    parsed = [StreamName.parse(name) for name in streams]
    names = {f"{each.plural}.{each.group}" if each.group else each.plural for each in parsed}
    mine = [each for each in parsed if assertion.kind in (each.plural, f"{each.plural}.{each.group}")]
    if not mine:
        near = meant(assertion.kind, names | {each.plural for each in parsed})
        raise Invalid(
            f"the assertion {assertion.name!r} is about {assertion.kind!r}, and {assertion.source} has captured no such kind by then",
            hint=f"{near}it has {', '.join(sorted(names))}",
        )
    spaces = {each.namespace for each in mine}
    if "" in spaces:
        if not any((each.group, each.plural, each.namespace) == ("", NAMESPACES, "") for each in parsed):
            return
        spaces = {name if kind == NAMESPACES else namespace for kind, namespace, name in keys} | (spaces - {""})
    if assertion.namespace and assertion.namespace not in spaces:
        raise Invalid(
            f"the assertion {assertion.name!r} is about the namespace {assertion.namespace!r}, which {assertion.source} has not by then",
            hint=f"{meant(assertion.namespace, spaces)}say one that is captured, or none for all",
        )
