"""A plan of what is to be retired: written first, carried out by a later pass when it is still right then, deleted when that is done.

    retention/plans/{made}-{unique}.json

Stored. Evolution: fields are only added, with defaults; ``format`` rises when an older version must not carry it out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from archiver.errors import Corrupt, Refused
from archiver.journal.boundary import Floor
from archiver.journal.extent import Span
from archiver.journal.keys import PLANS, plan_key
from archiver.journal.put_once import put_once
from archiver.untrusted import Unreadable, decode_untrusted

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.store.protocol import Store

FORMAT = 1
LIMIT = 1 << 28
_KEY = re.compile(r"retention/plans/([0-9]{20}-[0-9a-f]{32})\.json")


class RetirementPlan(msgspec.Struct, frozen=True, kw_only=True):
    """See the module."""

    format: int = FORMAT
    archive: str
    identity: str
    after: int
    """Number of the boundary that it goes on from; 0: there is none."""
    first: int
    """All segments from this one on stay."""
    kept: list[Span] = []
    """Segments before it that stay."""
    segments: int = 0
    """How many go."""
    share: float = 0.0
    """Of all segments."""
    bytes: int = 0
    checkpoints: list[str] = []
    """Keys of folded checkpoints that go."""
    parts: list[str] = []
    """Keys of parts that go."""
    marks: dict[str, int] = {}
    """Names of marks in segments that go, and their entries."""
    floors: dict[str, Floor] = {}
    """By source: from where on points stay restorable."""
    held: str = ""
    """What keeps more from going; empty: the window alone."""
    made: int = 0
    """When, by the clock of who made it."""
    journal_time: int = 0
    """The journal's newest time then."""
    by: str = ""


async def open_plans(store: Store) -> list[RetirementPlan]:
    """All plans, the oldest first. ``Corrupt``: one cannot be read. ``Refused``: something else stands there."""
    found = []
    for key in await store.list(PLANS):
        match = _KEY.fullmatch(key)
        if match is None:
            raise Refused(f"{key} stands among the plans of retention and is none", hint="find out what it is, and move it away")
        body = await store.get(key, 0, LIMIT + 1)
        if body is None:
            continue
        try:
            plan = decode_untrusted(body, RetirementPlan, most=LIMIT)
        except Unreadable as error:
            raise Corrupt(f"{key} cannot be read: {error}", hint="delete it: the next pass makes a new plan") from None
        if plan.format != FORMAT:
            raise Corrupt(f"{key} has format {plan.format}; this program knows {FORMAT}", hint="use a newer archiver")
        if plan.identity != match[1]:
            raise Corrupt(f"{key} is not the plan that its key says", hint="delete it: the next pass makes a new plan")
        found.append(plan)
    return found


async def write_plan(store: Store, clock: Clock, plan: RetirementPlan) -> None:
    """Make the plan durable."""
    await put_once(store, clock, plan_key(plan.identity), msgspec.json.encode(plan))


def plan_identity(clock: Clock) -> str:
    """Identity of a plan that is made now."""
    return f"{clock.now():020d}-{clock.unique()}"
