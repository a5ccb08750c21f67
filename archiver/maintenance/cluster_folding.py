"""The newest checkpoint or lists of a Kubernetes source and the journal behind them -> a newer checkpoint. The cluster is not asked.

    fold every stream to an entry, as a restore does -> those that are settled there -> parts, each read back -> one object names them all

A stream that is not settled there (a list is open, or one that did not become complete added something) stays as the checkpoint before had
it, or is left out: its reading goes on from there. So is nothing decided anew. Killed at any moment it leaves parts that nothing names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import structlog

from archiver import __version__
from archiver.journal.keys import checkpoint_key
from archiver.journal.put_once import put_once
from archiver.kubernetes.checkpoint_records import ClusterCheckpoint, StreamCheckpoint, is_settled, object_lines, stream_checkpoint
from archiver.kubernetes.cluster_checkpoints import newest_cluster_checkpoint
from archiver.maintenance.folded import FOLDED_OTHERWISE, NOTHING_NEW, Folded
from archiver.maintenance.part_writer import PartWriter
from archiver.replay.kubernetes.fold import fold_streams
from archiver.replay.kubernetes.folded_stream import Cut, FoldedStream

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.journal.parts import Part
    from archiver.journal.reader import Reader
    from archiver.journal.segment import SegmentHeader

_LEVEL = 3
_PIECE_OBJECTS = 200
"""Objects that go into a part at once."""

_log = structlog.get_logger()


async def fold_cluster(reader: Reader, clock: Clock, source: str, *, until: int) -> Folded:
    """Make one checkpoint of the Kubernetes source ``source``, as of segment ``until``.

    On return it is durable, or there is a reason why not. Memory: all objects of the source. Raises ``Corrupt``, ``Invalid`` and
    ``Unavailable``, as reading does.
    """
    tail = await reader.tail()
    if tail is None:
        return Folded(source, reason=NOTHING_NEW)
    header = await reader.valid_before(until + 1)
    if header is None or header.first + header.count <= 1:
        return Folded(source, reason=NOTHING_NEW)
    entry = header.first + header.count - 1
    before = await newest_cluster_checkpoint(reader, source, entry)
    if before is not None and before.entry == entry:
        return Folded(source, reason=NOTHING_NEW)
    known = {stream.name: stream for stream in before.streams} if before is not None else {}
    folds = [fold for fold in await fold_streams(reader, tail, source, Cut(seq=entry)) if fold.entry]
    if all(fold.name in known and known[fold.name].through == fold.entry for fold in folds):
        return Folded(source, reason=NOTHING_NEW)
    writer = PartWriter(reader.store, clock, source, level=_LEVEL, offload=reader.offload)
    streams: list[StreamCheckpoint] = []
    disproved = ""
    for fold in folds:
        if fold.state.disproved:
            disproved = disproved or fold.name
            _log.error("fold_disproved", source=source, stream=fold.name, reason=fold.state.disproved)
        if is_settled(fold.state):
            streams.append(await _stream(writer, fold, known.get(fold.name), header))
        elif fold.name in known:
            streams.append(known[fold.name])
    if not any(stream not in known.values() for stream in streams):
        why = FOLDED_OTHERWISE.format(stream=disproved) if disproved else "a list of every kind is open there, or did not become complete"
        return Folded(source, reason=why)
    return await _publish(reader, clock, source, header, streams, known)


async def _stream(writer: PartWriter, fold: FoldedStream, before: StreamCheckpoint | None, header: SegmentHeader) -> StreamCheckpoint:
    """One settled stream; its parts are those of ``before`` where no object has changed since."""
    objects = fold.state.objects
    if before is not None and len(objects) == before.count and all(seen.entry <= before.through for seen in objects.values()):
        parts = before.parts
    else:
        parts = await _parts(writer, fold)
    return stream_checkpoint(
        fold.name,
        fold.state,
        parts,
        through=fold.entry,
        segment=header.number,
        received=header.sources[fold.name].observed,
        observed=fold.observed,
    )


async def _parts(writer: PartWriter, fold: FoldedStream) -> list[Part]:
    objects = sorted(fold.state.objects.items())
    pieces = (list(object_lines(objects[at : at + _PIECE_OBJECTS])) for at in range(0, len(objects), _PIECE_OBJECTS))
    made = [await writer.add_rows(piece) for piece in pieces]
    made.append(await writer.end())
    return [part for part in made if part is not None]


async def _publish(
    reader: Reader, clock: Clock, source: str, header: SegmentHeader, streams: list[StreamCheckpoint], known: dict[str, StreamCheckpoint]
) -> Folded:
    entry = header.first + header.count - 1
    end = await reader.before(header.number)
    made = ClusterCheckpoint(
        archive=header.archive,
        source=source,
        entry=entry,
        time=header.time,
        segment=header.number,
        chain=end.chain.hex(),
        streams=streams,
        made=clock.now(),
        by=__version__,
    )
    key = checkpoint_key(source, entry)
    if await put_once(reader.store, clock, key, await reader.offload(msgspec.json.encode, made)) is not None:
        return Folded(source, key, entry, reason="another maintainer was faster: its checkpoint stays")
    old = {part.key for stream in known.values() for part in stream.parts}
    sizes = [(part.key in old, part.size) for stream in streams for part in stream.parts]
    written, kept = (sum(size for same, size in sizes if same == which) for which in (False, True))
    _log.info("checkpoint_folded", source=source, entry=entry, streams=len(streams), written=written)
    return Folded(source, key, entry, rows=sum(stream.count for stream in streams), written=written, kept=kept)
