"""Folded streams and what the user named -> the objects to restore. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from archiver.clock import to_text
from archiver.errors import Invalid
from archiver.kubernetes import json_fields as kj
from archiver.kubernetes.records import Resource
from archiver.kubernetes.redaction_mark import EVERYTHING, redacted_paths
from archiver.replay.kubernetes import manifests
from archiver.replay.kubernetes.folded_stream import FoldedStream
from archiver.replay.kubernetes.label_selector import LabelSelector
from archiver.replay.kubernetes.manifests import Manifest
from archiver.replay.kubernetes.namespace_moves import moved
from archiver.replay.kubernetes.object_names import ObjectName
from archiver.suggestions import meant
from archiver.untrusted import Unreadable

DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
NAMESPACES = "namespaces"
VOLUMES = ("persistentvolumeclaims", "persistentvolumes")
"""With which data goes that no archive has."""

_STALE = 300_000_000
"""Microseconds. API servers send a bookmark about once a minute; a stream that is silent for five is not being watched."""

Key = tuple[str, str, str]
"""``plural.group``, namespace (empty for cluster-scoped), name."""


class RestoreScope(msgspec.Struct, frozen=True):
    """What the user named; empty means all. An object is meant that fits everything named."""

    kinds: frozenset[str] = frozenset()
    """``plural`` or ``plural.group``."""
    namespaces: frozenset[str] = frozenset()
    """With namespaces named, cluster-scoped objects are left out, but for the definitions of what is restored."""
    objects: frozenset[ObjectName] = frozenset()
    labels: LabelSelector = LabelSelector()
    """Of the labels that objects had at the point."""
    moves: dict[str, str] = {}
    """Namespaces whose objects are restored into another one; without ``namespaces`` only these are meant."""

    @property
    def is_everything(self) -> bool:
        """Whether nothing was named."""
        return not (self.kinds or self.spaces or self.objects or self.labels.requirements)

    @property
    def spaces(self) -> frozenset[str]:
        """Namespaces that are meant; empty: all, and what is cluster-scoped."""
        return self.namespaces or frozenset(self.moves)

    def names(self, resource: Resource) -> bool:
        """Whether objects of that resource are meant."""
        mine = {resource.plural, name_of(resource)}
        return (not self.kinds or bool(mine & self.kinds)) and (not self.objects or any(kind in mine for kind, _, _ in self.objects))

    def reaches(self, resource: Resource, namespace: str) -> bool:
        """Whether objects of that resource in that namespace may be meant; empty: of a cluster-scoped resource, or in all namespaces."""
        if not self.names(resource) or (self.spaces and (not resource.namespaced or (namespace and namespace not in self.spaces))):
            return False
        mine = {resource.plural, name_of(resource)}
        return not self.objects or any(
            kind in mine and (bool(space) == resource.namespaced) and (not namespace or namespace == space)
            for kind, space, _ in self.objects
        )

    def has(self, resource: Resource, namespace: str, name: str) -> bool:
        """Whether the object is meant, as far as its name tells."""
        if not self.names(resource) or (self.spaces and namespace not in self.spaces):
            return False
        return not self.objects or any((kind, namespace, name) in self.objects for kind in (resource.plural, name_of(resource)))


class Objects(msgspec.Struct):
    """The manifests behind a plan's actions, by resource, namespace and name."""

    by_key: dict[Key, Manifest] = {}


class Stream(msgspec.Struct, frozen=True):
    """How far one stream is known at the point."""

    name: str
    objects: int
    entry: int
    """Newest entry in use; 0 for none."""
    observed: int
    """When it was received."""
    checkpoint: int = 0
    """Entry of the folded checkpoint that it was read from; 0: of a list."""


class Covered(msgspec.Struct, frozen=True):
    """What a complete list had at the point: all objects of a resource, in one namespace or (empty) in all."""

    resource: str
    namespace: str
    doubt: str = ""
    """Why an object that is not known there may have been there all the same."""


class Unmet(msgspec.Struct, frozen=True):
    """A part of a scope that means nothing at the point: a namespace, an object, or (both empty) all of it."""

    error: Invalid
    namespace: str = ""
    name: ObjectName | None = None


class Selection(msgspec.Struct):
    """What is to be restored, whatever the target holds."""

    objects: Objects
    resources: dict[str, Resource]
    """Of everything captured, in the plan or not."""
    clusters: list[str]
    """Identities of the clusters that the objects were captured from, newest first; more than one when the cluster was replaced."""
    servers: list[str]
    """Their URLs."""
    entry: int
    observed: int
    streams: list[Stream]
    left_out: list[tuple[Key, str]] = []
    """Objects of the point that are not restored, and why."""
    gaps: list[str] = []
    notes: list[str] = []
    moves: dict[str, str] = {}
    """Namespaces whose objects were put into another one."""
    naming: list[str] = []
    """Places in moved objects that name the old namespace still."""
    covered: list[Covered] = []
    """Where what is not ``known`` was not there."""
    known: set[Key] = set()
    """Everything in the streams in use that existed at the point, or may have, meant or not."""
    unmet: list[Unmet] = []
    """What nothing at the point fits, where that is permitted."""


def name_of(resource: Resource) -> str:
    """``plural.group``, or ``plural`` of the core group."""
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural


def label(key: Key) -> str:
    """For people: ``plural.group namespace/name``."""
    return f"{key[0]} {key[1]}/{key[2]}" if key[1] else f"{key[0]} {key[2]}"


def select(folds: Sequence[FoldedStream], scope: RestoreScope, *, lenient: bool = False) -> Selection:
    """What ``scope`` means of ``folds``. Raises ``Invalid`` when it names a kind that was never captured, and for a part of it that means
    nothing at the point; ``lenient``: that is in ``unmet`` then.
    """
    newest = sorted(folds, key=lambda fold: fold.observed, reverse=True)
    used = [fold for fold in newest if fold.state.resource is not None and _wanted(fold, scope)]
    selection = Selection(
        objects=Objects(),
        resources={name_of(fold.state.resource): fold.state.resource for fold in reversed(newest) if fold.state.resource is not None},
        clusters=list(dict.fromkeys(fold.state.cluster for fold in used if fold.state.cluster)),
        servers=list(dict.fromkeys(fold.state.server for fold in used if fold.state.server)),
        entry=max((fold.entry for fold in used), default=0),
        observed=max((fold.observed for fold in used), default=0),
        streams=[
            Stream(fold.name, len(fold.state.objects), fold.entry, fold.observed, fold.checkpoint)
            for fold in sorted(used, key=lambda fold: fold.name)
        ],
    )
    unknown = sorted(scope.kinds - {name for each in selection.resources.values() for name in (each.plural, name_of(each))})
    if unknown:
        raise Invalid(f"no kind {unknown[0]!r} is known at that point", hint=f"known: {', '.join(sorted(selection.resources)) or 'none'}")
    covered: set[tuple[str, str]] = set()
    met = _Met()
    for fold in used:
        _take(selection, fold, scope, covered, met)
    if lenient:
        selection.unmet = list(_unmet(folds, scope, met))
    else:
        _require_met(selection, folds, scope, met)
    _drop_definitions(selection, scope, met)
    _move(selection, scope.moves)
    selection.gaps.sort()
    selection.left_out.sort()
    return selection


class _Met(msgspec.Struct):
    """What of a scope was met with, be it restored, left out or unreadable."""

    namespaces: set[str] = set()
    objects: set[ObjectName] = set()
    some: bool = False

    def add(self, key: Key, resource: Resource, *, asked: bool) -> None:
        """``asked``: it is one of those that the scope names, not the definition of one."""
        if asked:
            self.namespaces.add(key[1])
            self.objects |= {key, (resource.plural, *key[1:])}
            self.some = True


def _require_met(selection: Selection, folds: Sequence[FoldedStream], scope: RestoreScope, met: _Met) -> None:
    """``Invalid`` where a part of the scope means nothing at the point: misspelt, or gone by then. It would be believed to be restored.

    Where something of it is not known, that is a gap too.
    """
    found = list(_unmet(folds, scope, met))
    if selection.gaps:
        selection.gaps += [each.error.message for each in found]
    elif found:
        raise found[0].error


def _unmet(folds: Sequence[FoldedStream], scope: RestoreScope, met: _Met) -> Iterator[Unmet]:
    known = sorted({namespace for fold in folds for namespace, _ in fold.state.objects if namespace})
    told = f"known namespaces: {', '.join(known) or 'none'}; labels are those of the point, not today's"
    # Objects that are asked for by name say better what is missing.
    for namespace in sorted(scope.spaces - met.namespaces) if not scope.objects else ():
        error = Invalid(
            f"nothing in namespace {namespace!r} is known at that point that fits what was asked for",
            hint=told if namespace in known else meant(namespace, known) + told,
        )
        yield Unmet(error, namespace)
    for kind, namespace, name in sorted(scope.objects - met.objects):
        text = "/".join(part for part in (kind, namespace, name) if part)
        error = Invalid(
            f"no object {text} is known at that point that fits what was asked for",
            hint=f"`archiver log --object {text}` says when there was one; it is plural.group/namespace/name",
        )
        yield Unmet(error, name=(kind, namespace, name))
    if not met.some and not scope.is_everything and not scope.spaces and not scope.objects:
        yield Unmet(Invalid("no object at that point fits what was asked for", hint="labels are those of the point, not today's"))


def _move(selection: Selection, moves: Mapping[str, str]) -> None:
    """Put the objects of moved namespaces into the new ones."""
    selection.moves = dict(moves)
    objects = selection.objects.by_key
    for old, new in sorted(moves.items()):
        keys = [key for key in objects if key[1] == old]
        along = frozenset(manifests.uid(objects[key]) for key in keys)
        for key in keys:
            result = moved(objects.pop(key), new, along, selection.resources)
            objects[key[0], new, key[2]] = result.manifest
            if result.lost:
                lost = ", ".join(result.lost)
                selection.notes.append(f"{label(key)}: owners that stay in {old} are left out ({lost}); restore them along")
            if result.naming:
                selection.naming.append(f"{label(key)} still names {old} in {', '.join(result.naming)}")
        selection.left_out = [((kind, new if space == old else space, name), why) for (kind, space, name), why in selection.left_out]


def _wanted(fold: FoldedStream, scope: RestoreScope) -> bool:
    resource = fold.state.resource
    assert resource is not None
    if name_of(resource) == DEFINITIONS:
        return True
    return scope.reaches(resource, fold.state.namespace)


def _take(selection: Selection, fold: FoldedStream, scope: RestoreScope, covered: set[tuple[str, str]], met: _Met) -> None:
    """Add one stream's objects. Streams come newest first: where the settings went from all namespaces to one or back, the older stream
    has stood still since, and what the newer one covers is the newer one's.
    """
    resource = fold.state.resource
    assert resource is not None
    name = name_of(resource)
    if (name, "") in covered or (name, fold.state.namespace) in covered:
        return
    if name == DEFINITIONS and fold.state.listing is None:
        # They were never captured, and nobody expects them: the target must have them.
        selection.notes += [f"{fold.name}: definitions are not captured, the target must have them ({gap})" for gap in fold.gaps]
        return
    selection.gaps += [f"{fold.name}: {gap}" for gap in fold.gaps]
    selection.notes += [f"{fold.name}: {note}" for note in fold.notes]
    selection.known |= {(name, *key) for key in fold.state.known()}
    if fold.state.listing is None:
        return
    stale = selection.observed - fold.observed > _STALE and not fold.state.ended
    if stale:
        selection.notes.append(f"{fold.name}: nothing was received after {to_text(fold.observed)}")
    selection.covered.append(Covered(name, fold.state.namespace, _doubt(fold, stale=stale)))
    for (namespace, object_name), seen in sorted(fold.state.objects.items()):
        meant_by_name = scope.has(resource, namespace, object_name)
        if (name, namespace) in covered or (name != DEFINITIONS and not meant_by_name):
            continue
        key = (name, namespace, object_name)
        try:
            manifest = kj.document(seen.body, resource.group, resource.version, resource.kind)
        except Unreadable as error:
            selection.gaps.append(f"{label(key)} cannot be restored ({error}); its bytes are entry {seen.entry}")
            met.add(key, resource, asked=meant_by_name)
            continue
        if redacted_paths(manifest) == [EVERYTHING]:
            selection.gaps.append(f"{label(key)} cannot be restored: what is redacted was not to be found in it, so nothing of it was kept")
            met.add(key, resource, asked=meant_by_name)
            continue
        fits = meant_by_name and scope.labels.matches(manifest["metadata"].get("labels"))
        if name != DEFINITIONS and not fits:
            continue
        met.add(key, resource, asked=fits)
        if manifests.terminating(manifest):
            selection.left_out.append((key, "was being deleted"))
        else:
            selection.objects.by_key[key] = manifest
    covered.add((name, fold.state.namespace))


def _doubt(fold: FoldedStream, *, stale: bool) -> str:
    """Why what is not known of a stream may have been there all the same."""
    if fold.state.ended:
        return "its kind was not served then"
    if not fold.state.selected:
        return f"the settings select it no longer since {to_text(fold.observed)}"
    if fold.gaps:
        return fold.gaps[0]
    # Notes are no doubts of what was not there: what came late counts as of when it happened, or is a gap.
    return f"nothing was received after {to_text(fold.observed)}" if stale else ""


def _drop_definitions(selection: Selection, scope: RestoreScope, met: _Met) -> None:
    """With a scope, only the definitions of what is restored, and those that are asked for themselves."""
    if scope.is_everything:
        return
    by_key = selection.objects.by_key
    needed = {resource for resource, _, _ in by_key if resource != DEFINITIONS}
    for key in [key for key in by_key if key[0] == DEFINITIONS and key[2] not in needed and key not in met.objects]:
        del by_key[key]
