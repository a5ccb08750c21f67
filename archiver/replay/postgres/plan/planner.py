"""A point -> the plan of a restore: finds the checkpoint, reads the stretch up to the point (and a little on), decides nothing twice."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archiver import memory
from archiver.errors import Bug, Refused
from archiver.journal.boundary import Retired
from archiver.journal.segment import CorruptSegment, SegmentHeader
from archiver.postgres.announcements import UNANNOUNCED, UNSEEN, changes_text, may_differ, read_described, shows_in_dump
from archiver.postgres.captured_systems import CapturedDatabase, named_databases
from archiver.postgres.checkpoint_records import FoldedCheckpoint
from archiver.postgres.lsn import format_lsn, parse_lsn
from archiver.postgres.records import SCHEMA_UNCERTAIN, Schema
from archiver.postgres.schema_bodies import read_schema
from archiver.postgres.schema_comparison import same_but_rights, same_content
from archiver.postgres.visibility import Committed
from archiver.replay.points import Point, resolve
from archiver.replay.postgres.plan.checkpoint_choice import Beginning, beginnings
from archiver.replay.postgres.plan.excerpt_plan import UNOWNED_SEQUENCES
from archiver.replay.postgres.plan.journal_survey import FoundRecord, Survey
from archiver.replay.postgres.plan.otherwise import otherwise
from archiver.replay.postgres.plan.plan import GapLine, Moment, Range, Ref, RestorePlan, SchemaLine, Start
from archiver.replay.postgres.plan.point_location import end_segment, limit_of, mark_of, not_known_yet, require_mark
from archiver.replay.postgres.plan.schema_choice import Changes, SchemaChoice, choose
from archiver.replay.postgres.plan.state_at_point import StateAtPoint
from archiver.replay.postgres.plan.table_coverage import cover

if TYPE_CHECKING:
    from archiver.journal.reader import Reader
    from archiver.journal.segment import Segment

AHEAD_SECONDS = 120.0
"""How much journal time behind the point is looked through for the next schema entry and the next reading of sequences."""

_ALWAYS_LEFT_OUT = (
    "roles, settings of the database and of roles, tablespaces, large objects, subscriptions, comments on extensions, rows in tables of"
    " extensions: in the physical backup"
)


@dataclass(slots=True)
class _Stretch:
    first: int
    last: int
    count: int = 0
    size: int = 0


async def plan_restore(reader: Reader, source: str, point: Point) -> RestorePlan:
    """What restoring ``source`` at ``point`` means. Reads the journal's stretch between checkpoint and point, writes nothing.

    The plan holds no rows and stays right while the journal grows. Raises ``Invalid`` for a source that the journal does not have,
    ``NotReached`` for a point that it does not have yet, ``Refused`` when that lies before the first complete baseline, ``Corrupt``,
    ``Unavailable``.
    """
    memory.give_back()
    point = await resolve(reader, point)
    tail = await reader.tail()
    assert tail is not None
    require_mark(tail, source, point)
    end = min(await end_segment(reader, source, point), tail.number)
    boundary = await reader.boundary()
    if boundary is not None and end <= boundary.first:
        # What was kept from there would answer, and not know what came next.
        raise Retired(point.text, boundary)
    captured = await named_databases(reader)
    async with aclosing(beginnings(reader, source, point, end)) as found:
        async for beginning in found:
            record = beginning.found.record
            survey = Survey(
                limit_of(point), from_seq=record.replay_from, from_lsn=parse_lsn(record.lsn), checkpoint=beginning.found.ref.seq
            )
            if beginning.folded is not None:
                await _recall(reader, survey, beginning.folded)
            stretch = _Stretch(await reader.find_seq(record.replay_from), end)
            await _read(reader, survey, stretch, source)
            state = StateAtPoint(point, survey)
            unread = await _look_ahead(reader, source, state, stretch, tail)
            if survey.undercut(state.has_copy):
                continue
            if point.kind == "time" and survey.next is None and survey.broken is None and survey.known_until() < point.number:
                if unread is not None:
                    raise unread
                raise not_known_yet(source, survey.known_until(), point)
            if not survey.schemas:
                raise Refused(f"the journal has no schema of {source} for this point", hint="choose a later point")
            choice = await _settled(_schema(state), reader)
            plan = _plan(tail, source, state, beginning, stretch, captured, choice)
            if unread is not None:
                plan.approximations.append(
                    f"what stands behind the point is read up to segment {unread.number} only: {unread.reason}; a gap or a schema change"
                    " that is noticed later and recorded there is not seen"
                )
            return plan
    raise Bug("no beginning serves, not even a copy of the source")


async def _read(reader: Reader, survey: Survey, stretch: _Stretch, source: str) -> None:
    async with aclosing(_segments(reader, stretch.first, stretch.last)) as segments:
        async for segment in segments:
            _feed(survey, segment, source)
            stretch.count += 1
            stretch.size += segment.size
    survey.flush()


async def _recall(reader: Reader, survey: Survey, folded: FoldedCheckpoint) -> None:
    """Tell the survey what the checkpoint says of the journal before it."""
    survey.resume(folded.snapshot.taken)
    wanted = {place.entry for place in (*folded.schemas, *folded.polls)}
    for number in sorted({place.segment for place in (*folded.schemas, *folded.polls)}):
        async with aclosing(reader.read(number, last=number)) as runs:
            async for placed in runs:
                entries = range(placed.first, placed.first + placed.run.count)
                if placed.run.source == folded.source and not wanted.isdisjoint(entries) and placed.first < folded.snapshot.replay_from:
                    survey.recall(placed)


async def _segments(reader: Reader, first: int, last: int | None) -> AsyncGenerator[Segment]:
    async with aclosing(reader.walk(first, last=last)) as steps:
        async for segment, valid in steps:
            if valid:
                yield segment


def _feed(survey: Survey, segment: Segment, source: str) -> None:
    for placed in segment.placed():
        if placed.run.source == source:
            survey.feed(placed)


async def _look_ahead(reader: Reader, source: str, state: StateAtPoint, stretch: _Stretch, tail: SegmentHeader) -> CorruptSegment | None:
    """Read on until what stands around the point is known: whose view the entries there have, the next schema, the next poll.

    Copies of tables that are still to come are waited for to the journal's end: without them the point cannot be restored. A segment that
    cannot be read ends it as the journal's end does, and is returned: the point itself does not need it.
    """
    header = await reader.header(stretch.last)
    assert header is not None
    until = header.time + int(AHEAD_SECONDS * 1e6)
    segments = _segments(reader, stretch.last + 1, tail.number)
    async with aclosing(segments):
        while True:
            reached = parse_lsn(mark_of(header, source).position or "0/0")
            try:
                segment = await anext(segments, None)
            except CorruptSegment as error:
                return None if state.is_known(reached, late=False) else error
            if segment is None:
                return None
            if state.is_known(reached, late=segment.header.time > until):
                return None
            _feed(state.survey, segment, source)
            state.survey.flush()
            header = await reader.with_marks(segment.header)


def _plan(
    tail: SegmentHeader,
    source: str,
    state: StateAtPoint,
    beginning: Beginning,
    stretch: _Stretch,
    captured: list[CapturedDatabase],
    choice: SchemaChoice,
) -> RestorePlan:
    survey, checkpoint = state.survey, beginning.found
    schema = choice.found.record
    copies = [copy for copy in survey.copies if state.has_copy(copy)]
    origins = {each.oid: each for each in beginning.folded.origins} if beginning.folded else {}
    coverage = cover(choice.found, checkpoint, copies, state, origins, certain=choice.certain)
    approximations = list(coverage.approximations)
    gaps = list(coverage.gaps)
    if choice.change is not None and not any(gap.reason == SCHEMA_UNCERTAIN for gap in gaps):
        gaps.append(_unannounced(choice.change))
    if choice.unseen and not any(gap.reason == SCHEMA_UNCERTAIN for gap in gaps):
        gaps.append(_unseen(choice.unseen, survey))
    if not choice.certain and choice.change is None and not choice.unseen:
        approximations.append(f"the schema: {_doubt(choice, state)}")
    before = [found for found in survey.polls if state.has_poll(found)]
    after = survey.polls[len(before) :]
    read = before[-1].record.values if before and not after else []
    if unowned := sorted(f"{value.schema}.{value.name}" for value in read if not value.owner_oid):
        approximations.append(
            f"{UNOWNED_SEQUENCES}, as last read before the point: {', '.join(unowned)}; values handed out since then are not"
            " known, and may be given again"
        )
    read_at = [found.ref for found in survey.copies] + [found.ref for found in survey.polls]
    counted = {found.ref for found in copies} | {found.ref for found in before}
    named = state.point.number if state.point.kind == "entry" else -1
    stream = beginning.folded or (survey.streams[0] if survey.streams else None)
    return RestorePlan(
        archive=tail.archive,
        source=source,
        system_id=stream.system_id if stream else "",
        database=stream.database if stream else "",
        point=_moment(state, beginning),
        checkpoint=_start(beginning),
        segments=Range(stretch.first, stretch.last, stretch.count, stretch.size),
        schema=SchemaLine(
            choice.found.ref,
            schema.lsn,
            schema.taken,
            schema.cause,
            schema.server_version,
            schema.dump_version,
            choice.certain,
            _doubt(choice, state),
            len(survey.announced(shows_in_dump)[0]),
            format_lsn(state.known_until(choice.found, None)) if choice.unwatched else "",
        ),
        tables=coverage.tables,
        gaps=gaps,
        approximations=approximations,
        not_included=[*coverage.not_included, _ALWAYS_LEFT_OUT],
        otherwise=otherwise(schema.catalog),
        extensions=schema.catalog.extensions,
        installed=schema.catalog.installed,
        publications=[each.name for each in schema.catalog.publications or []],
        roles=schema.catalog.roles,
        materialized=schema.catalog.materialized,
        schemas=[found.ref for found in survey.schemas],
        recopies=[copy.ref for copy in copies],
        sequences_before=before[-1].ref if before else None,
        sequences_after=after[0].ref if after else None,
        captured=captured,
        ahead=[ref for ref in read_at if ref.seq <= named and ref not in counted],
    )


def _schema(state: StateAtPoint) -> SchemaChoice:
    survey = state.survey
    return choose(
        [found for found in survey.schemas if survey.broken is None or found.ref.seq < survey.broken[0]],
        before=state.has_schema,
        changed=_changes(survey, shows_in_dump),
        perhaps=lambda one, other: _changes(survey, lambda content: may_differ(content, one.catalog, other.catalog)),
        unchanged=state.is_known_here,
        unsettled=state.unsettled,
        sealed=state.was_sealed,
    )


def _changes(survey: Survey, shows: Callable[[bytes], bool]) -> Changes:
    return Changes(*survey.announced(shows), frozenset(each.of for each in survey.sealed(shows)))


def _doubt(choice: SchemaChoice, state: StateAtPoint) -> str:
    """Why the schema is not certain, where that is no gap."""
    if not choice.unwatched:
        return choice.reason
    known = format_lsn(state.known_until(choice.found, None))
    return f"{choice.reason}; nobody announces changes there, and one that was made since LSN {known} and left no rows is not known"


async def _settled(choice: SchemaChoice, reader: Reader) -> SchemaChoice:
    """``choice``, certain where the entry with a change that nobody announced says the same in other words."""
    if choice.change is None:
        return choice
    one, other = [await _schema_and_dump(reader, found.ref) for found in (choice.found, choice.change)]
    if choice.otherwise is not None:
        return choice.otherwise if same_content(one, other) or same_but_rights(one, other) else choice
    if not same_content(one, other):
        return choice
    return SchemaChoice(choice.found, certain=True, reason="a restore makes the same of the entries before and after the point")


async def _schema_and_dump(reader: Reader, ref: Ref) -> tuple[Schema, bytes]:
    async with aclosing(reader.read(ref.segment, last=ref.segment)) as runs:
        async for placed in runs:
            if placed.first == ref.seq:
                return read_schema(placed)
    raise Bug(f"entry {ref.seq} was read from segment {ref.segment}, and is not in it")


def _unannounced(change: FoundRecord[Schema]) -> GapLine:
    record = change.record
    return GapLine(
        change.ref.seq,
        "schema",
        SCHEMA_UNCERTAIN,
        UNANNOUNCED,
        from_position=record.since,
        to_position=record.lsn,
        to_time=record.taken,
    )


def _unseen(unseen: Sequence[Committed], survey: Survey) -> GapLine:
    """The gap of what was announced by our event trigger, and never looked at before what came next."""
    found = [each for each in survey.sealed(lambda _: True) if each.of in unseen]
    said = [read_described(content) for each in found for content in each.contents]
    return GapLine(
        found[0].seq,
        "schema",
        SCHEMA_UNCERTAIN,
        f"{UNSEEN}: {changes_text([each for each in said if each is not None])}",
        from_position=format_lsn(min(each.commit_lsn for each in unseen)),
    )


def _moment(state: StateAtPoint, beginning: Beginning) -> Moment:
    point, survey = state.point, state.survey
    asked = point.number if point.kind == "time" else 0
    last = survey.last
    if last is None:
        snapshot, folded = beginning.found.record, beginning.folded
        entry, time = (folded.commit or folded.entry, folded.time) if folded else (0, snapshot.taken)
        return Moment(point.text, point.kind, entry, snapshot.lsn, time, asked, 0, survey.unfinished, silent=not survey.sent)
    end = format_lsn(last.end_lsn)
    return Moment(point.text, point.kind, last.seq, end, last.time, asked, survey.applied, survey.unfinished, survey.begun_before)


def _start(beginning: Beginning) -> Start:
    snapshot = beginning.found.record
    parts = [part for table in snapshot.tables for part in table.parts]
    return Start(
        beginning.found.ref,
        snapshot.lsn,
        snapshot.taken,
        snapshot.cause,
        snapshot.replay_from,
        sum(part.rows for part in parts),
        sum(part.size for part in parts),
        beginning.key,
        beginning.sha256,
    )
