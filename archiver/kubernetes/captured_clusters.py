"""Which clusters an archive is made from, now or once: a restore writes into none of them without a word for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import structlog

from archiver.errors import Corrupt
from archiver.journal.boundary import Retired
from archiver.journal.entry import Kind
from archiver.journal.record_reader import read_record
from archiver.kubernetes.cluster_checkpoints import newest_cluster_checkpoint
from archiver.kubernetes.records import Watch

if TYPE_CHECKING:
    from archiver.journal.reader import Reader
    from archiver.journal.segment import SegmentHeader

_log = structlog.get_logger()


class CapturedCluster(msgspec.Struct, frozen=True, order=True):
    """One cluster that is or was captured."""

    source: str
    identity: str
    """As ``Watch.cluster`` has it."""
    server: str
    """Its URL."""
    now: bool
    """Whether a stream of the source is captured from it at the journal's end."""


async def named_clusters(reader: Reader) -> list[CapturedCluster]:
    """Every cluster that the journal names, of any source, also of those that are configured no more.

    The newest list or watch of each stream says what it is captured from. A cluster that is replaced begins a new epoch of the stream, so
    those before are found by bisection. What cannot be read, or is retired, is not known but by checkpoints, and the log says so. Raises
    ``Unavailable``.
    """
    tail = await reader.tail()
    if tail is None:
        return []
    found: set[CapturedCluster] = set()
    for name in tail.sources:
        # Sources of databases have no resource in their names.
        if "/" in name:
            found |= await _of_stream(reader, tail, name)
    for source in sorted({name.partition("/")[0] for name in tail.sources if "/" in name}):
        checkpoint = await newest_cluster_checkpoint(reader, source, tail.first + tail.count - 1)
        for stream in checkpoint.streams if checkpoint is not None else ():
            if stream.cluster or stream.server:
                found.add(CapturedCluster(source, stream.cluster, stream.server, now=False))
    return sorted(found)


async def _of_stream(reader: Reader, tail: SegmentHeader, name: str) -> set[CapturedCluster]:
    source = name.partition("/")[0]
    found: set[CapturedCluster] = set()
    try:
        at, watch = await _newest(reader, tail, name)
        while watch is not None:
            found.add(CapturedCluster(source, watch.cluster, watch.server, now=not found))
            # Epochs count from 0 and never go back.
            at, watch = await _before(reader, at, name, watch.epoch) if watch.epoch else (-1, None)
    except (Corrupt, Retired) as error:
        _log.warning("captured_cluster_not_known", stream=name, reason=error.message)
    return found


async def _before(reader: Reader, high: int, name: str, epoch: int) -> tuple[int, Watch | None]:
    """The newest list or watch of an epoch before ``epoch``, which segment ``high`` has, and its segment."""
    best: tuple[int, Watch | None] = (-1, None)
    extent = await reader.extent()
    low, top = -1, extent.place(high)
    while top - low > 1:
        middle = (low + top) // 2
        header = await reader.valid_before(extent.number(middle) + 1)
        at, watch = await _newest(reader, header, name) if header is not None else (-1, None)
        if watch is None or watch.epoch < epoch:
            low, best = middle, (at, watch) if watch is not None else best
        else:
            top = middle
    # Where the epoch begins, one may stand before it in the same segment.
    first = await _newest(reader, None, name, extent.number(top), epoch)
    return best if first[1] is None else first


async def _newest(
    reader: Reader, header: SegmentHeader | None, name: str, at: int = -1, before: int | None = None
) -> tuple[int, Watch | None]:
    """The newest list or watch by ``header``, or in segment ``at`` of an epoch before that, and its segment."""
    if header is not None:
        mark = header.sources.get(name)
        at = mark.control_segment if mark is not None else -1
    newest = None
    if at >= 0:
        async for placed in reader.read(at, last=at):
            if placed.run.source == name and placed.run.kind is Kind.K8S_WATCH:
                for body in placed.run.bodies():
                    watch = read_record(body, Watch, placed)
                    newest = watch if before is None or watch.epoch < before else newest
    return at, newest
