"""Folded streams and what the user named -> the objects to restore. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from archiver.clock import to_text
from archiver.errors import Invalid
from archiver.kubernetes import json_fields as kj
from archiver.kubernetes.records import Resource
from archiver.replay.kubernetes import manifests
from archiver.replay.kubernetes.folded_stream import FoldedStream
from archiver.replay.kubernetes.manifests import Manifest
from archiver.untrusted import Unreadable

DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
NAMESPACES = "namespaces"

_STALE = 300_000_000
"""Microseconds. API servers send a bookmark about once a minute; a stream that is silent for five is not being watched."""

Key = tuple[str, str, str]
"""``plural.group``, namespace (empty for cluster-scoped), name."""


class RestoreScope(msgspec.Struct, frozen=True):
    """What the user named; empty means all."""

    kinds: frozenset[str] = frozenset()
    """``plural`` or ``plural.group``."""
    namespaces: frozenset[str] = frozenset()
    """With namespaces named, cluster-scoped objects are left out, but for the definitions of what is restored."""

    def names(self, resource: Resource) -> bool:
        """Whether objects of that resource are meant."""
        return not self.kinds or bool({resource.plural, name_of(resource)} & self.kinds)

    def has(self, resource: Resource, namespace: str) -> bool:
        """Whether an object of that resource and namespace is meant."""
        return self.names(resource) and (not self.namespaces or namespace in self.namespaces)


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


def name_of(resource: Resource) -> str:
    """``plural.group``, or ``plural`` of the core group."""
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural


def label(key: Key) -> str:
    """For people: ``plural.group namespace/name``."""
    return f"{key[0]} {key[1]}/{key[2]}" if key[1] else f"{key[0]} {key[2]}"


def select(folds: Sequence[FoldedStream], scope: RestoreScope) -> Selection:
    """What ``scope`` means of ``folds``. Raises ``Invalid`` when it names a kind that was never captured."""
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
    for fold in used:
        _take(selection, fold, scope, covered)
    _drop_definitions(selection, scope)
    selection.gaps.sort()
    selection.left_out.sort()
    empty = sorted(scope.namespaces - {namespace for _, namespace, _ in selection.objects.by_key})
    selection.notes += [f"namespace {namespace}: nothing to restore" for namespace in empty]
    return selection


def _wanted(fold: FoldedStream, scope: RestoreScope) -> bool:
    resource = fold.state.resource
    assert resource is not None
    if name_of(resource) == DEFINITIONS:
        return True
    if not scope.names(resource):
        return False
    return not scope.namespaces or (resource.namespaced and (not fold.state.namespace or fold.state.namespace in scope.namespaces))


def _take(selection: Selection, fold: FoldedStream, scope: RestoreScope, covered: set[tuple[str, str]]) -> None:
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
    if fold.state.listing is None:
        return
    if selection.observed - fold.observed > _STALE and not fold.state.ended:
        selection.notes.append(f"{fold.name}: nothing was received after {to_text(fold.observed)}")
    for (namespace, object_name), seen in sorted(fold.state.objects.items()):
        if (name, namespace) in covered or (name != DEFINITIONS and not scope.has(resource, namespace)):
            continue
        key = (name, namespace, object_name)
        try:
            manifest = kj.document(seen.body, resource.group, resource.version, resource.kind)
        except Unreadable as error:
            selection.gaps.append(f"{label(key)} cannot be restored ({error}); its bytes are entry {seen.entry}")
            continue
        if manifests.terminating(manifest):
            selection.left_out.append((key, "was being deleted"))
        else:
            selection.objects.by_key[key] = manifest
    covered.add((name, fold.state.namespace))


def _drop_definitions(selection: Selection, scope: RestoreScope) -> None:
    """With a scope, only the definitions of what is restored."""
    if not scope.kinds and not scope.namespaces:
        return
    by_key = selection.objects.by_key
    needed = {resource for resource, _, _ in by_key if resource != DEFINITIONS}
    if scope.kinds & {DEFINITIONS, DEFINITIONS.partition(".")[0]}:
        return
    for key in [key for key in by_key if key[0] == DEFINITIONS and key[2] not in needed]:
        del by_key[key]
