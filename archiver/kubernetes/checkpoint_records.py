"""A folded checkpoint of a Kubernetes source: every stream's objects as they were after one of its entries. Pure.

It saves reading, and it proves nothing: the journal stays the truth, and every checkpoint can be thrown away and made anew. One object
names the parts, which were read back before it came to be. A stream stands in it only if everything about it was settled there: a list had
been complete, none was open, none that did not become complete had added anything, and what the API server listed since was what the fold
came to. Reading of that stream goes on with the entry behind
``through``; of a stream that is not in it, with its newest list.

A part holds objects of one stream: a line of JSON about each, its bytes as the API server sent them, and a line end. Evolution: as in
``records``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from archiver.errors import Corrupt
from archiver.journal.folded_checkpoints import decode_folded
from archiver.journal.parts import Part
from archiver.journal.records import Gap
from archiver.journal.remedies import CHECKPOINT_ANEW
from archiver.kubernetes.records import Listing, Resource
from archiver.kubernetes.stream_state import Key, KnownObject, StreamState
from archiver.untrusted import Unreadable, decode_untrusted

VERSION = 1
CLUSTER_CHECKPOINT_LIMIT = 1 << 26
"""Bytes of the object that names the parts: some hundred thousand streams."""
_LINE_BYTES = 1 << 16
"""Of the line about an object: names and versions of an API server are far shorter."""
_HINT = f"of the checkpoint that names it: {CHECKPOINT_ANEW}"


class StreamCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One stream, as ``StreamState`` has it after entry ``through``."""

    name: str
    through: int
    """Number of the stream's newest entry that is folded in."""
    segment: int
    """What follows of the stream stands in this segment or behind it."""
    received: int
    """The newest time at which any entry of the stream up to ``through`` was received, in its whole history."""
    observed: int
    """The same of the entries since its newest list."""
    resource: Resource
    namespace: str = ""
    cluster: str
    server: str
    epoch: int
    listing: Listing
    heard: int
    position: str
    ended: bool = False
    selected: bool = True
    unwatched: Gap | None = None
    count: int
    """Objects."""
    parts: list[Part] = []


class ClusterCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """See the module."""

    format: int = VERSION
    archive: str
    source: str
    entry: int
    """No entry behind this one is in it."""
    time: int
    """Journal time there."""
    segment: int
    """The segment that holds ``entry``."""
    chain: str
    """Chain hash after the last valid segment before that one, hex: a journal that was rewritten does not have it."""
    streams: list[StreamCheckpoint]
    made: int = 0
    """When, microseconds."""
    by: str = ""
    """Version of the program."""


class _ObjectLine(msgspec.Struct, omit_defaults=True):
    """About the object whose bytes follow."""

    name: str
    uid: str
    version: str
    observed: int
    entry: int
    size: int
    namespace: str = ""


def is_settled(state: StreamState) -> bool:
    """Whether a checkpoint can have the stream as it is."""
    return state.listing is not None and state.resource is not None and not state.loose and state.pending is None and not state.disproved


def stream_checkpoint(
    name: str, state: StreamState, parts: list[Part], *, through: int, segment: int, received: int, observed: int
) -> StreamCheckpoint:
    """Of a stream that is settled."""
    assert state.listing is not None
    assert state.resource is not None
    return StreamCheckpoint(
        name=name,
        through=through,
        segment=segment,
        received=received,
        observed=observed,
        resource=state.resource,
        namespace=state.namespace,
        cluster=state.cluster,
        server=state.server,
        epoch=state.epoch,
        listing=state.listing,
        heard=state.heard,
        position=state.position,
        ended=state.ended,
        selected=state.selected,
        unwatched=state.unwatched,
        count=len(state.objects),
        parts=parts,
    )


def state_of(checkpoint: StreamCheckpoint, objects: dict[Key, KnownObject]) -> StreamState:
    """The stream, ready for the entries behind ``through``."""
    state = StreamState()
    state.objects = objects
    state.resource, state.namespace = checkpoint.resource, checkpoint.namespace
    state.cluster, state.server, state.epoch = checkpoint.cluster, checkpoint.server, checkpoint.epoch
    state.listing, state.observed, state.heard = checkpoint.listing, checkpoint.observed, checkpoint.heard
    state.position, state.ended = checkpoint.position, checkpoint.ended
    state.selected, state.unwatched = checkpoint.selected, checkpoint.unwatched
    return state


def object_lines(objects: Iterable[tuple[Key, KnownObject]]) -> Iterator[bytes]:
    """What a part holds of each object."""
    for (namespace, name), seen in objects:
        line = _ObjectLine(name, seen.uid, seen.resource_version, seen.observed, seen.entry, len(seen.body), namespace)
        yield b"%b\n%b\n" % (msgspec.json.encode(line), seen.body)


def read_objects(text: bytes, part: Part) -> Iterator[tuple[Key, KnownObject]]:
    """The objects of ``text``, which ``part`` holds. ``Corrupt`` when it is not what ``object_lines`` makes."""
    at, found = 0, 0
    while at < len(text):
        end = text.find(b"\n", at, at + _LINE_BYTES)
        try:
            line = decode_untrusted(text[at:end] if end >= 0 else b"", _ObjectLine, most=_LINE_BYTES)
        except Unreadable as error:
            raise Corrupt(f"part {part.key} holds a line about an object that cannot be read: {error}", hint=_HINT) from None
        at = end + 1 + line.size
        if line.size < 0 or text[at : at + 1] != b"\n":
            raise Corrupt(f"part {part.key} does not hold an object of the size that its line says", hint=_HINT)
        body = text[end + 1 : at]
        at += 1
        found += 1
        yield (line.namespace, line.name), KnownObject(line.uid, line.version, line.observed, line.entry, body)
    if found != part.rows:
        raise Corrupt(f"part {part.key} holds {found} objects, and is said to hold {part.rows}", hint=_HINT)


def decode_cluster_checkpoint(body: bytes, *, key: str, archive: str, source: str, entry: int) -> ClusterCheckpoint:
    """The checkpoint under ``key``, which must be what its key says. ``Corrupt`` otherwise."""
    found = decode_folded(
        body, ClusterCheckpoint, version=VERSION, most=CLUSTER_CHECKPOINT_LIMIT, key=key, archive=archive, source=source, entry=entry
    )
    names = {stream.name for stream in found.streams}
    if len(names) < len(found.streams) or any(stream.through > entry or stream.segment > found.segment for stream in found.streams):
        raise Corrupt(f"{key} has a stream twice, or one from behind its own place", hint=CHECKPOINT_ANEW)
    return found
