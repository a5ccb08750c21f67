"""What has to stay of a database: asked of the very code that plans restores, and that begins capture."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from archiver.capture.postgres.start.journal_view import newest_commit_segment
from archiver.errors import Refused
from archiver.journal.boundary import Floor, Retired
from archiver.journal.extent import Span
from archiver.journal.folded_checkpoints import checkpoint_keys
from archiver.journal.spans import first_segment_of
from archiver.replay.points import NotReached, Point
from archiver.replay.postgres.plan.checkpoint_choice import Beginning, beginnings, decode_checkpoint, read_checkpoint
from archiver.replay.postgres.plan.planner import plan_restore
from archiver.replay.postgres.plan.point_location import end_segment, first_checkpoint
from archiver.retention.needs import Need, OldestPoint, SourceNeeds, behind, part_keys

if TYPE_CHECKING:
    from archiver.journal.reader import Reader
    from archiver.journal.segment import SegmentHeader


async def database_needs(reader: Reader, tail: SegmentHeader, source: str, oldest: list[OldestPoint]) -> SourceNeeds:
    """``oldest``: what is promised, the window's beginning first, then marks. ``Corrupt`` when a checkpoint that must stay is bad."""
    mark = tail.sources[source]
    found = SourceNeeds(source)
    if not mark.checkpoint:
        return _everything(found, await first_segment_of(reader, source), tail, "it has no complete baseline yet")
    found.checkpoints = behind(oldest)
    for each in oldest:
        points = [Point(str(each.entry), "entry", each.entry)] if each.entry else []
        points += [Point(str(each.time), "time", each.time)] if each.time else []
        for point in points:
            await _point(reader, tail, found, point)
    if not oldest[0].entry:
        return _everything(found, (await reader.extent()).first, tail, "the journal is younger than the window")
    found.floor = Floor(oldest[0].entry, oldest[0].time)
    if mark.changed:
        number = await newest_commit_segment(reader, source, mark)
        found.needs.append(Need(Span(number, number), "the newest commit"))
    await _read_kept(reader, found)
    return found


def _everything(found: SourceNeeds, first: int, tail: SegmentHeader, why: str) -> SourceNeeds:
    found.needs.append(Need(Span(first, tail.number), why))
    found.checkpoints = 0
    return found


async def _point(reader: Reader, tail: SegmentHeader, found: SourceNeeds, point: Point) -> None:
    """What restoring at ``point`` needs, twice over: the checkpoint that it begins from, and the one before."""
    try:
        chosen = await _chosen(reader, tail, found.source, point)
    except NotReached:
        # Nobody can ask for it; the entry of the same time is asked for as well.
        return
    except Retired as error:
        _everything(found, (await reader.extent()).first, tail, f"the window reaches back behind what is there: {error.message}")
        return
    except Refused as error:
        first = await first_checkpoint(reader, found.source)
        if first is None or not (first.record.taken > point.number if point.kind == "time" else first.record.replay_from > point.number):
            _everything(found, (await reader.extent()).first, tail, error.message)
            return
        found.needs.append(
            Need(Span(await reader.find_seq(first.record.replay_from), tail.number), "its first baseline is younger than that")
        )
        found.checkpoints = min(found.checkpoints, first.record.replay_from)
        return
    for beginning in chosen:
        segment = await reader.find_seq(beginning.found.record.replay_from)
        if beginning.folded is not None:
            segment = min(segment, beginning.folded.segment)
        why = (
            f"the checkpoint at entry {beginning.folded.entry}"
            if beginning.folded
            else "its baseline in the journal: fold newer checkpoints"
        )
        found.needs.append(Need(Span(segment, tail.number), why))
        found.checkpoints = min(found.checkpoints, beginning.folded.entry if beginning.folded is not None else 0)


async def _chosen(reader: Reader, tail: SegmentHeader, source: str, point: Point) -> list[Beginning]:
    plan = await plan_restore(reader, source, point)
    chosen: list[Beginning] = []
    end = min(await end_segment(reader, source, point), tail.number)
    async with aclosing(beginnings(reader, source, point, end)) as found:
        async for beginning in found:
            done = bool(chosen) and (chosen[-1].key == plan.checkpoint.key)
            # All up to the one that the plan chose, which passed the others over, and one more: that another one is there to fall back on.
            chosen.append(beginning)
            if done:
                break
    return chosen


async def _read_kept(reader: Reader, found: SourceNeeds) -> None:
    archive = (await reader.identity()).id
    async with aclosing(checkpoint_keys(reader.store, found.source, (1 << 62))) as keys:
        async for entry, key in keys:
            if entry < found.checkpoints:
                break
            folded = decode_checkpoint(await read_checkpoint(reader.store, key), key=key, archive=archive, source=found.source, entry=entry)
            for place in (*folded.schemas, *folded.polls):
                found.needs.append(
                    Need(Span(place.segment, place.segment), f"the schema or the sequences of the checkpoint at entry {entry}")
                )
            found.parts |= part_keys([part for table in folded.snapshot.tables for part in table.parts])
            found.segment = folded.segment
