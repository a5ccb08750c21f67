"""One pass of retention.

    holds? -> what an earlier pass left is deleted -> judged -> a plan is written -> (a day later) judged anew -> a boundary -> deletion

A pass may be killed anywhere and run beside another one. Until the boundary exists nothing was deleted; from then on what it retired counts
for nobody, whether or not it is still there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
import structlog

from archiver import __version__
from archiver.errors import Refused
from archiver.journal.boundary import Floor, newest_boundary
from archiver.journal.extent import Span
from archiver.journal.keys import boundary_key, plan_key
from archiver.journal.put_once import put_once
from archiver.journal.reader import Reader
from archiver.retention.clean_up import clean_up
from archiver.retention.holds import holds
from archiver.retention.judging import LEAST_SEGMENTS, Judged, judge, rehearse_judged
from archiver.retention.retirement_plan import RetirementPlan, open_plans, plan_identity, write_plan

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.journal.parts import Offload
    from archiver.retention.limits import RetentionLimits
    from archiver.store.protocol import Store

State = Literal["off", "held", "nothing", "would plan", "planned", "waiting", "retired"]

_log = structlog.get_logger()


class Outcome(msgspec.Struct):
    """What a pass did, or would do."""

    state: State
    first: int = 0
    """The first segment of all that stay."""
    segments: int = 0
    """That go."""
    share: float = 0.0
    bytes: int = 0
    checkpoints: int = 0
    parts: int = 0
    kept: int = 0
    """Segments before ``first`` that stay."""
    floors: dict[str, Floor] = {}
    """By source: the oldest point that stays restorable."""
    reason: str = ""
    """Why no more goes; or why nothing does."""
    due: int = 0
    """When a plan is carried out at the earliest."""
    deleted: int = 0
    """Objects that this pass deleted."""
    holds: list[str] = []


async def retain(
    store: Store,
    clock: Clock,
    limits: RetentionLimits,
    *,
    offload: Offload,
    dry_run: bool = False,
    most_share: float | None = None,
    least_segments: int = LEAST_SEGMENTS,
) -> Outcome:
    """One pass. ``most_share``: instead of the setting, for this pass.

    ``Refused``, ``Corrupt``: something is not understood, or more would go than may; nothing that counts was deleted. ``Unavailable``.
    """
    if not limits.restore_seconds:
        return Outcome("off", reason="retention.restore_seconds is not set: nothing is ever deleted")
    if held := await holds(store):
        return Outcome("held", holds=[each.name for each in held], reason="a hold stands: nothing is deleted")
    deleted = 0
    boundary = await newest_boundary(store)
    if boundary is not None and not dry_run:
        deleted = await clean_up(store, boundary)
    number = boundary.number if boundary is not None else 0
    reader = Reader(store, packs=False, offload=offload)
    plan = next((each for each in reversed(await open_plans(store)) if each.after == number), None)
    now = clock.now()
    if plan is not None and not dry_run:
        again = await judge(reader, clock, limits, most=plan.first, kept=tuple(plan.kept), least_segments=least_segments)
        if again is not None and _is_right(plan, again):
            wait = _wait(plan, again, now, limits.grace_seconds)
            if wait > 0:
                return _outcome("waiting", again, plan, due=now + wait, deleted=deleted)
            _check_share(again, most_share or limits.most_share)
            return await _carry_out(reader, clock, plan, again, boundary.marks if boundary is not None else {}, deleted)
        _log.info("retention_plan_dropped", plan=plan.identity, reason="what it retires is needed by now")
        await store.delete(plan_key(plan.identity))
    judged = await judge(reader, clock, limits, least_segments=least_segments)
    if judged is None:
        return Outcome("nothing", reason="there is no journal yet", deleted=deleted)
    if not judged.departing.segments and not judged.departing.checkpoints:
        why = judged.choice.why or f"nothing that is older than the window stands before the newest {least_segments} segments"
        return Outcome("nothing", judged.choice.first, floors=judged.floors, reason=why, deleted=deleted)
    _check_share(judged, most_share or limits.most_share)
    await rehearse_judged(reader, judged, number + 1, now)
    made = _plan(judged, number, plan_identity(clock), now)
    if dry_run:
        return _outcome("would plan", judged, made, due=now + int(limits.grace_seconds * 1e6))
    await write_plan(store, clock, made)
    _log.info("retention_planned", plan=made.identity, segments=made.segments, bytes=made.bytes)
    return _outcome("planned", judged, made, due=now + int(limits.grace_seconds * 1e6), deleted=deleted)


def _is_right(plan: RetirementPlan, again: Judged) -> bool:
    """Whether all that the plan retires may go now, and all that it leaves is enough."""
    return (
        plan.archive == again.tail.archive
        and plan.first == again.choice.first
        and [*map(tuple, plan.kept)] == [(each.first, each.last) for each in again.choice.kept]
        and set(plan.checkpoints) <= set(again.departing.checkpoints)
        and set(plan.parts) <= again.departing.parts
    )


def _wait(plan: RetirementPlan, again: Judged, now: int, grace_seconds: float) -> int:
    """Microseconds that the plan has to wait, by this clock and by the journal's: both must have gone on."""
    return int(grace_seconds * 1e6) - min(now - plan.made, again.tail.time - plan.journal_time)


def _check_share(judged: Judged, most: float) -> None:
    if judged.share > most:
        raise Refused(
            f"{judged.departing.segments} segments would go, {judged.share:.1%} of all; {most:.1%} may go in one pass",
            hint="look at `archiver retain --dry-run --most-share 1`, and say `archiver retain --most-share 1` if that is meant",
        )


def _plan(judged: Judged, after: int, identity: str, now: int) -> RetirementPlan:
    return RetirementPlan(
        archive=judged.tail.archive,
        identity=identity,
        after=after,
        first=judged.choice.first,
        kept=[Span(each.first, each.last) for each in judged.choice.kept],
        segments=judged.departing.segments,
        share=judged.share,
        bytes=judged.departing.bytes,
        checkpoints=judged.departing.checkpoints,
        parts=sorted(judged.departing.parts),
        marks=judged.departing.marks,
        floors=judged.floors,
        held=judged.choice.why,
        made=now,
        journal_time=judged.tail.time,
        by=__version__,
    )


async def _carry_out(reader: Reader, clock: Clock, plan: RetirementPlan, again: Judged, marks: dict[str, int], deleted: int) -> Outcome:
    await rehearse_judged(reader, again, plan.after + 1, clock.now())
    boundary = again.boundary(plan.after + 1, plan.identity, marks, clock.now())
    if held := await holds(reader.store):
        return Outcome("held", holds=[each.name for each in held], reason="a hold stands: nothing is deleted", deleted=deleted)
    body = msgspec.json.encode(boundary)
    if await put_once(reader.store, clock, boundary_key(boundary.number), body) is not None:
        return Outcome("nothing", reason="another pass was faster", deleted=deleted)
    _log.info("retention_boundary", number=boundary.number, first=boundary.first, entry=boundary.next, segments=plan.segments)
    return _outcome("retired", again, plan, deleted=deleted + await clean_up(reader.store, boundary))


def _outcome(state: State, judged: Judged, plan: RetirementPlan, *, due: int = 0, deleted: int = 0) -> Outcome:
    return Outcome(
        state,
        plan.first,
        plan.segments,
        plan.share,
        plan.bytes,
        len(plan.checkpoints),
        len(plan.parts),
        sum(span.last - span.first + 1 for span in plan.kept),
        judged.floors,
        plan.held,
        due,
        deleted,
    )
