"""Whether a state that a restore makes can be begun from later, as from a copy of the source. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archiver.postgres.lsn import parse_lsn

if TYPE_CHECKING:
    from archiver.replay.postgres.plan.plan import RestorePlan


def entry_of(plan: RestorePlan) -> int:
    """The last entry that a checkpoint at the point of ``plan`` has: the last commit's, or where nothing was committed, the point's own."""
    return plan.point.entry if plan.point.transactions else int(plan.point.asked)


def unsuited(plan: RestorePlan) -> str:
    """Why no checkpoint can be made at the point of ``plan``; empty when one can."""
    entry = entry_of(plan)
    if plan.gaps:
        return f"{plan.gaps[0].what} is not known there: {plan.gaps[0].reason}"
    written_later = plan.schema.ref.seq > entry and parse_lsn(plan.schema.lsn) > parse_lsn(plan.point.lsn)
    if not plan.schema.certain or written_later:
        return f"the schema is not certain there: {plan.schema.reason}"
    if plan.point.begun_before:
        return f"{plan.point.begun_before} long transactions were unfinished there"
    if any(copy.seq > entry for copy in plan.recopies):
        return "a copy of a table that belongs there was written later"
    if any(ref.seq <= entry for ref in plan.ahead):
        return "what was read at the source behind it was written before it"
    return ""
