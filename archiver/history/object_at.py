"""One Kubernetes object as it was at a point, with what is not known of that: by the same rules as a restore."""

from __future__ import annotations

from typing import Any

import msgspec

from archiver.errors import HistoryLost, Invalid
from archiver.history.filed_streams import filed_streams
from archiver.history.objects import ObjectRef, never_saw, no_cluster
from archiver.journal.reader import Reader
from archiver.kubernetes import json_fields as kj
from archiver.kubernetes.stream_name import StreamName
from archiver.replay.kubernetes.fold import read_streams
from archiver.replay.kubernetes.folded_stream import Cut, FoldedStream
from archiver.suggestions import nearest
from archiver.untrusted import Unreadable

_SHOWN = 3
"""Names that may have been meant."""
_MOST_COMPARED = 10_000
"""Names that a misspelt one is compared with: more take seconds."""


class ObjectAt(msgspec.Struct, frozen=True):
    """The object at a point."""

    state: dict[str, Any] | None
    """``None``: it did not exist, as far as is known."""
    gaps: list[str] = []
    """Why that may be otherwise."""
    notes: list[str] = []
    """What should be known about it."""
    near: list[str] = []
    """Objects of other names that may have been meant, where there is none of this one: a hint, and nothing about the object."""


async def object_at(reader: Reader, source: str, ref: ObjectRef, cut: Cut) -> ObjectAt:
    """The object ``ref`` of ``source`` at ``cut``. Raises ``Invalid`` as ``object_log`` does, and the errors of ``Reader``.

    Where history files tell it exactly, they are asked, and the journal only behind them; else its streams are folded.
    """
    streams = await _streams(reader, source, ref)
    try:
        folds = await filed_streams(reader, source, streams, (ref.namespace, ref.name), cut) or await read_streams(
            reader, source, cut, lambda name: str(name) in streams
        )
    except HistoryLost:
        return ObjectAt(None, ["nothing of it was known yet: no complete list by then"])
    newest = sorted(folds, key=lambda fold: fold.observed, reverse=True)
    # Where the settings went from all namespaces to one or back, the stream that was heard last counts.
    fold = next((each for each in newest if each.state.listing is not None), newest[0])
    gaps, notes = [f"{fold.name}: {gap}" for gap in fold.gaps], [f"{fold.name}: {note}" for note in fold.notes]
    try:
        state = _state(fold, ref)
    except Unreadable as error:
        entry = fold.state.objects[ref.namespace, ref.name].entry
        unread = f"{fold.name}: it existed, and what it was cannot be read ({error}); its bytes are entry {entry}"
        return ObjectAt(None, [*gaps, unread], notes)
    return ObjectAt(state, gaps, notes, _near(fold, ref) if state is None else [])


async def _streams(reader: Reader, source: str, ref: ObjectRef) -> set[str]:
    """Names of the streams that may hold the object."""
    tail = await reader.tail()
    names = [StreamName.parse(name) for name in (tail.sources if tail else ()) if name.startswith(f"{source}/")]
    if not names:
        raise no_cluster(source, tail)
    meant = [name for name in names if ref.matches(name.resource)]
    if not meant:
        raise never_saw(source, ref, {f"{name.plural}.{name.group}" for name in names})
    groups = sorted({f"{name.plural}.{name.group}" for name in meant})
    if len(groups) > 1:
        raise Invalid(f"several groups have {ref.resource}", hint=f"name one: {', '.join(groups)}")
    covering = {str(name) for name in meant if name.namespace in ("", ref.namespace)}
    if not covering and not ref.namespace:
        raise _in_a_namespace(ref, sorted({name.namespace for name in meant}))
    if not covering:
        raise Invalid(
            f"source {source} does not capture {ref.resource} in namespace {ref.namespace}", hint="see `namespaces` in the settings"
        )
    return covering


def _in_a_namespace(ref: ObjectRef, namespaces: list[str]) -> Invalid:
    """Objects of the kind have a namespace, and ``ref`` names none; ``namespaces``: where it may be."""
    named = [f"{ref.resource}/{namespace}/{ref.name}" for namespace in namespaces[:_SHOWN]]
    hint = f"did you mean {' or '.join(named)}?" if named else "write plural.group/namespace/name"
    return Invalid(f"{ref.resource} are in namespaces, and {ref.resource}/{ref.name} names none", hint=hint)


def _near(fold: FoldedStream, ref: ObjectRef) -> list[str]:
    """Objects that may have been meant where there is no such object. ``Invalid`` when it should have named a namespace."""
    objects = fold.state.objects
    if not ref.namespace and any(namespace for namespace, _ in objects):
        raise _in_a_namespace(ref, sorted(namespace for namespace, name in objects if name == ref.name))
    elsewhere = [f"{namespace}/{name}" for namespace, name in sorted(objects) if name == ref.name]
    if not elsewhere and len(objects) <= _MOST_COMPARED:
        names = {name for namespace, name in objects if namespace == ref.namespace}
        found = nearest(ref.name, names)
        elsewhere = [f"{ref.namespace}/{found}" if ref.namespace else found] if found else []
    return [f"{ref.resource}/{each}" for each in elsewhere[:_SHOWN]]


def _state(fold: FoldedStream, ref: ObjectRef) -> dict[str, Any] | None:
    seen, resource = fold.state.objects.get((ref.namespace, ref.name)), fold.state.resource
    if seen is None or resource is None:
        return None
    return kj.document(seen.body, resource.group, resource.version, resource.kind)
