"""Objects of one namespace -> the same objects in another. Pure.

What is safe to rewrite is rewritten: the namespace that an object is in, and with it that of the objects that own it. Anything else that
names the old namespace is a text that only the object's controller understands: it is listed, and stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from archiver.errors import Invalid
from archiver.replay.kubernetes.owners import owner_label, references

if TYPE_CHECKING:
    from archiver.kubernetes.records import Resource
    from archiver.replay.kubernetes.manifests import Manifest

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NOT_THEIRS = ("managedFields", "namespace", "ownerReferences", "uid", "resourceVersion", "name", "generateName", "selfLink")
"""Of ``metadata``: what is rewritten, what the server writes, and what names the object itself."""
_LISTED = 20
"""Places that are listed of one object."""


def parse_moves(texts: Sequence[str], namespaces: frozenset[str]) -> dict[str, str]:
    """``OLD=NEW`` texts as a mapping. ``namespaces``: those that are chosen besides, if any.

    Raises ``Invalid`` for another form, and where objects of two namespaces would meet in one.
    """
    moves: dict[str, str] = {}
    for text in texts:
        old, sign, new = text.partition("=")
        if not sign or not _NAME.fullmatch(old) or not _NAME.fullmatch(new) or old == new:
            raise Invalid(f"--into-namespace {text!r} is not OLD=NEW", hint="two names of namespaces, for example agents=agents-restored")
        if moves.get(old, new) != new:
            raise Invalid(f"--into-namespace names {old} twice", hint="restore into one namespace, then into the other")
        moves[old] = new
    for old, new in moves.items():
        if namespaces and old not in namespaces:
            raise Invalid(f"--into-namespace is about {old}, and --namespace leaves it out", hint=f"add --namespace {old}")
        if new in moves or new in namespaces or list(moves.values()).count(new) > 1:
            raise Invalid(f"objects of two namespaces would meet in {new}", hint="give each namespace a name of its own")
    return moves


class MovedObject(msgspec.Struct):
    """What became of one object."""

    manifest: Manifest
    lost: list[str]
    """Owners that stay behind: in the other namespace a reference to them would have it collected."""
    naming: list[str]
    """Places that name the old namespace still."""


def moved(manifest: Manifest, new: str, along: frozenset[str], resources: Mapping[str, Resource]) -> MovedObject:
    """``manifest`` in the namespace ``new``. ``along``: UIDs of the objects that are moved with it; ``resources``: everything captured."""
    metadata = manifest["metadata"]
    old = str(metadata.get("namespace", ""))
    kept, lost = [], []
    for reference in references(manifest):
        if reference.get("uid", "") in along or _cluster_scoped(reference, resources):
            kept.append(reference)
        else:
            lost.append(owner_label(reference))
    naming: list[str] = []
    plain = {key: value for key, value in manifest.items() if key not in ("apiVersion", "kind")}
    for path in _naming({**plain, "metadata": {key: value for key, value in metadata.items() if key not in _NOT_THEIRS}}, old):
        if path not in naming:
            naming.append(path)
        if len(naming) == _LISTED:
            break
    there = {**metadata, "namespace": new}
    if references(manifest):
        there["ownerReferences"] = kept
    return MovedObject({**manifest, "metadata": there}, lost, naming)


def _cluster_scoped(reference: Manifest, resources: Mapping[str, Resource]) -> bool:
    group = str(reference.get("apiVersion", "")).rpartition("/")[0]
    return any(each.kind == reference.get("kind") and each.group == group and not each.namespaced for each in resources.values())


def _naming(value: Any, name: str) -> Iterator[str]:
    """Paths, two levels deep, below which a text names ``name`` as a word: alone, or as a part of an address or a path."""
    word = re.compile(rf"(?<![A-Za-z0-9-]){re.escape(name)}(?![A-Za-z0-9-])")
    waiting: list[tuple[str, int, Any]] = [("", 0, value)]
    while waiting:
        path, level, one = waiting.pop()
        if isinstance(one, dict):
            for key in sorted(one, reverse=True):
                below = f"{path}.{key}" if path else str(key)
                if word.search(str(key)) and level:
                    yield path
                waiting.append((below if level < 2 else path, level + 1, one[key]))
        elif isinstance(one, list):
            waiting += [(path, max(level, 2), each) for each in one]
        elif isinstance(one, msgspec.Raw):
            if word.search(bytes(one).decode("utf-8", "replace")):
                yield path
        elif isinstance(one, str) and word.search(one):
            yield path
