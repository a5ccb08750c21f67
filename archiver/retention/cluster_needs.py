"""What has to stay of a cluster: asked of the very code that folds its streams, and that begins capture."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from archiver.capture.kubernetes.journal_view import beginning_of
from archiver.errors import Corrupt
from archiver.journal.boundary import Floor, Retired
from archiver.journal.extent import Span
from archiver.journal.folded_checkpoints import checkpoint_keys
from archiver.journal.spans import last_segment_of
from archiver.kubernetes.checkpoint_records import CLUSTER_CHECKPOINT_LIMIT, decode_cluster_checkpoint
from archiver.replay.kubernetes.fold import newest_before, stretches
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.retention.needs import Need, OldestPoint, SourceNeeds, behind, part_keys

if TYPE_CHECKING:
    from archiver.journal.reader import Reader
    from archiver.journal.segment import SegmentHeader


async def cluster_needs(reader: Reader, tail: SegmentHeader, source: str, oldest: list[OldestPoint]) -> SourceNeeds:
    """As ``database_needs``, for every stream of ``source``, those that ended long ago as well."""
    found = SourceNeeds(source, checkpoints=behind(oldest))
    lasts = {name: await last_segment_of(reader, name, mark) for name, mark in tail.sources.items() if name.startswith(f"{source}/")}
    if not oldest[0].entry:
        found.needs.append(Need(Span((await reader.extent()).first, tail.number), "the journal is younger than the window"))
        found.checkpoints = 0
        return found
    for each in oldest:
        cuts = [Cut(seq=each.entry)] if each.entry else []
        cuts += [Cut(time=each.time)] if each.time else []
        for cut in cuts:
            base = await newest_before(reader, tail, source, cut)
            # That another one is there to fall back on: what a fold needs that has not this one.
            before = [Cut(seq=base.entry - 1)] if base is not None and base.entry > 1 else []
            for one in (cut, *before):
                await _stretches(reader, tail, found, one, lasts)
                there = await newest_before(reader, tail, source, one)
                found.checkpoints = min(found.checkpoints, there.entry if there is not None else found.checkpoints)
    for name, last in lasts.items():
        begin = await beginning_of(reader, name, tail.sources[name])
        _add(found, Span(begin.segment, last), f"the newest complete list of {name}: capture begins with it")
    found.floor = Floor(oldest[0].entry, oldest[0].time)
    await _read_kept(reader, found)
    return found


async def _stretches(reader: Reader, tail: SegmentHeader, found: SourceNeeds, cut: Cut, lasts: dict[str, int]) -> None:
    try:
        needed = await stretches(reader, tail, found.source, cut)
    except Retired as error:
        why = f"the window reaches back behind what is there: {error.message}"
        found.needs.append(Need(Span((await reader.extent()).first, tail.number), why))
        return
    for name, span in needed.items():
        # What follows is needed for later points.
        _add(found, Span(span.first, lasts[name]), f"{name} at the oldest promised point: fold newer checkpoints")


def _add(found: SourceNeeds, span: Span, why: str) -> None:
    if span.first <= span.last:
        found.needs.append(Need(span, why))


async def _read_kept(reader: Reader, found: SourceNeeds) -> None:
    archive = (await reader.identity()).id
    async with aclosing(checkpoint_keys(reader.store, found.source, (1 << 62))) as keys:
        async for entry, key in keys:
            if entry < found.checkpoints:
                break
            body = await reader.store.get(key, 0, CLUSTER_CHECKPOINT_LIMIT + 1)
            if body is None:
                raise Corrupt(f"checkpoint {key} is missing", hint="somebody deletes in the archive: find out who")
            folded = decode_cluster_checkpoint(body, key=key, archive=archive, source=found.source, entry=entry)
            found.parts |= part_keys([part for stream in folded.streams for part in stream.parts])
            found.segment = folded.segment
