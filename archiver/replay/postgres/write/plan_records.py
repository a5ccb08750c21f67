"""What a plan refers to, read from the journal again; and its changes folded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from archiver import memory
from archiver.errors import Corrupt
from archiver.journal.entry import Kind, Placed
from archiver.journal.record_reader import read_record
from archiver.postgres.checkpoint_records import FoldedCheckpoint
from archiver.postgres.records import UPDATES_NOT_PUBLISHED, Schema, Sequences, Snapshot
from archiver.postgres.schema_bodies import read_schema
from archiver.replay.postgres.fold.database import DatabaseFold, Limit, Summary
from archiver.replay.postgres.plan.checkpoint_choice import decode_checkpoint, read_checkpoint
from archiver.replay.postgres.plan.plan import Ref, RestorePlan
from archiver.replay.postgres.write.spill_file import SpillFile

if TYPE_CHECKING:
    from archiver.journal.reader import Reader

Progress = Callable[[str, int, int], None]
"""Step, done, total (0: not known)."""

_FOLDED = frozenset((Kind.PG_FRAMES, Kind.PG_STREAM))


@dataclass(frozen=True)
class PlanRecords:
    """The records behind a plan."""

    schema: Schema
    dump: bytes
    """pg_dump's custom format."""
    schemas: list[Schema]
    checkpoint: Snapshot
    copies: list[Snapshot]
    before: Sequences | None
    after: Sequences | None
    folded: FoldedCheckpoint | None = None
    """What ``checkpoint`` is of, when it was folded."""


async def gather(plan: RestorePlan, reader: Reader) -> PlanRecords:
    """Read them. One segment is read for each that holds one. Raises ``Corrupt``, ``Unavailable``."""
    folded = await _folded(plan, reader) if plan.checkpoint.key else None
    wanted = [plan.schema.ref, *plan.schemas, *([] if folded else [plan.checkpoint.ref]), *plan.recopies]
    wanted += [ref for ref in (plan.sequences_before, plan.sequences_after) if ref is not None]
    bodies: dict[int, list[bytes]] = {}
    for number in sorted({ref.segment for ref in wanted}):
        sought = {ref.seq for ref in wanted if ref.segment == number}
        async with aclosing(reader.read(number, last=number)) as runs:
            async for placed in runs:
                if placed.run.source == plan.source and placed.run.kind is not Kind.PG_FRAMES:
                    _collect(placed, sought, bodies)

    def body(ref: Ref) -> list[bytes]:
        if ref.seq not in bodies:
            raise Corrupt(f"entry {ref.seq} is not in segment {ref.segment}, where the plan has it", hint="make a new plan")
        return bodies[ref.seq]

    schema, dump = body(plan.schema.ref)
    return PlanRecords(
        _of(schema, Schema),
        dump,
        [_of(body(ref)[0], Schema) for ref in plan.schemas],
        folded.snapshot if folded else _of(body(plan.checkpoint.ref)[0], Snapshot),
        [_of(body(ref)[0], Snapshot) for ref in plan.recopies],
        _of(body(plan.sequences_before)[0], Sequences) if plan.sequences_before else None,
        _of(body(plan.sequences_after)[0], Sequences) if plan.sequences_after else None,
        folded,
    )


async def _folded(plan: RestorePlan, reader: Reader) -> FoldedCheckpoint:
    start = plan.checkpoint
    body = await read_checkpoint(reader.store, start.key)
    if hashlib.sha256(body).hexdigest() != start.sha256:
        raise Corrupt(f"checkpoint {start.key} is not the one of the plan", hint="make a new plan")
    return decode_checkpoint(body, key=start.key, archive=plan.archive, source=plan.source, entry=start.ref.seq)


def _collect(placed: Placed, sought: set[int], bodies: dict[int, list[bytes]]) -> None:
    if not any(placed.first <= seq < placed.first + placed.run.count for seq in sought):
        return
    found = list(placed.run.bodies())
    if placed.run.kind is Kind.PG_SCHEMA:
        read_schema(placed)
        bodies[placed.first] = found
        return
    for number, one in enumerate(found):
        bodies[placed.first + number] = [one]


Record = TypeVar("Record", Schema, Snapshot, Sequences)


def _of(body: bytes, of: type[Record]) -> Record:
    return read_record(body, of)


async def fold_changes(
    plan: RestorePlan, material: PlanRecords, reader: Reader, progress: Progress | None = None, *, only: Collection[int] | None = None
) -> tuple[DatabaseFold, Summary]:
    """All changes of the plan's range, folded; ``only``: those of these tables (oids). Segments are fetched while others fold, in threads.

    What memory has no room for is put aside in the temporary folder for as long as the fold lives; ``Unavailable`` when that is full.
    """
    memory.give_back()
    fold = DatabaseFold(material.schemas, limit=Limit(seq=plan.limit), strict=not _blurs(plan), spill=SpillFile(), only=only)
    fold.checkpoint(material.checkpoint)
    if material.folded is not None:
        fold.describe(material.folded.relations)
    for copy in material.copies:
        fold.recopied(copy)
    begin = plan.checkpoint.replay_from if material.folded is not None else 0
    done = 0
    with memory.OneThread() as thread:
        async with aclosing(reader.walk(plan.segments.first, last=plan.segments.last)) as steps:
            async for segment, valid in steps:
                done += 1
                runs = [placed for placed in segment.placed() if _is_ours(placed, plan)] if valid else []
                if runs and not await thread.run(_feed, fold, [placed.since(begin) for placed in runs]):
                    break
                if progress:
                    progress("reading changes", done, plan.segments.count)
        return fold, await thread.run(fold.finish)


def _blurs(plan: RestorePlan) -> bool:
    """Whether changes may contradict the rows that they change: behind gaps of the stream, not where only updates were not published."""
    return any(gap.reason != UPDATES_NOT_PUBLISHED for gap in plan.gaps)


def _is_ours(placed: Placed, plan: RestorePlan) -> bool:
    run = placed.run
    return run.source == plan.source and run.kind in _FOLDED and placed.first + run.count > plan.checkpoint.replay_from


def _feed(fold: DatabaseFold, runs: list[Placed]) -> bool:
    return all(fold.feed(placed) for placed in runs)
