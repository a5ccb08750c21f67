"""What a source does at its start: journal and server, seen together -> a decision. Pure; the table stands in docs/design/0002.

A server accepts any start: one behind what was confirmed is moved forward silently, one ahead of its log delivers nothing until the log
gets there. So every start is decided here first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from archiver.errors import Refused
from archiver.journal.records import Gap
from archiver.postgres.lsn import format_position
from archiver.postgres.pasteable import literal
from archiver.postgres.replication_messages import SentCommit


@dataclass(frozen=True)
class JournalView:
    """What the journal says of a source; all of it durable."""

    position: int = 0
    """Everything that committed before it is in the journal; 0: nothing is."""
    slot: Literal["", "creating", "created", "dropped"] = ""
    """The newest PG_SLOT entry; empty: none."""
    complete: bool = False
    """A baseline was finished after the newest PG_SLOT entry."""
    system_id: str = ""
    timeline: int = 0
    database: str = ""
    newest: SentCommit | None = None
    """The newest commit that came through the newest slot; ``None``: none did."""


@dataclass(frozen=True)
class SlotView:
    """The slot of our name as the server shows it."""

    plugin: str
    database: str
    confirmed: int
    """``confirmed_flush_lsn``; 0 while the slot is being created."""
    wal_status: str = ""
    invalid: str = ""
    """Why the server gave it up; empty: it did not, or does not say."""
    temporary: bool = False
    failover: bool = False
    """Standbys may keep it (17 and newer)."""


@dataclass(frozen=True)
class ServerView:
    """The server now."""

    system_id: str
    timeline: int
    database: str
    position: int
    """End of its log."""
    slot: SlotView | None = None
    switches: dict[int, int] = field(default_factory=dict)
    """Where each earlier timeline of its history ended."""
    unpublished: str = ""
    """What it said when it last could not decode what follows the journal's end, and never will, for want of a publication; or empty."""
    undecodable: str = ""
    """What it said, time and again, when it failed to decode what follows the journal's end; or empty."""
    diverged: str = ""
    """What it sent, in the attempt before, that showed its history to be another one than the journal's; empty: nothing did."""
    exposed: str = ""
    """Why what follows the journal's end may hold values that are to be hidden by now; or empty."""


@dataclass(frozen=True)
class FreshStart:
    """Create the slot, take a baseline."""

    drop: bool
    """A slot of our name is there, is ours and must go first."""
    gap: Gap | None = None
    """What is lost: to be recorded before anything else."""


@dataclass(frozen=True)
class Resumption:
    """Go on behind ``position``: everything that committed before it is in the journal."""

    position: int
    start: int
    """Where to start replication: not behind the slot, which is as old as the server's storage is."""
    newest: SentCommit | None = None
    """A commit of the journal that must be sent again; ``None``: the slot says itself that the server had all of the journal's."""


def decide(known: JournalView, server: ServerView, *, slot_name: str, adopt_new_system: bool = False) -> FreshStart | Resumption:
    """The table. Raises ``Refused`` where going on could destroy what is not ours or mix two databases in one history."""
    if foreign := _foreign(known, server, slot_name):
        if not adopt_new_system:
            raise Refused(
                foreign,
                hint="capture it under another source name; or, after pg_upgrade or a move, set adopt_new_system: the journal then records"
                " a gap and a new baseline",
            )
        if server.slot is not None:
            raise _not_ours(slot_name, kept=known.slot == "created")
        return FreshStart(drop=False, gap=_gap(known, "system_changed", foreign))
    if known.slot in ("", "dropped"):
        if server.slot is not None:
            raise _not_ours(slot_name)
        return FreshStart(drop=False)
    if not known.complete:
        return FreshStart(drop=server.slot is not None)
    if lost := _lost(known, server, slot_name):
        return FreshStart(drop=server.slot is not None, gap=lost)
    assert server.slot is not None
    return _resumption(known, server.slot.confirmed)


def _resumption(known: JournalView, confirmed: int) -> Resumption:
    """Storage that is put back takes the slot back with it. So a slot that confirms the newest commit is in a log that has that commit, and
    all that follows the slot is new; where it does not, the commit must come again. Never is anything between slot and journal passed over.
    """
    newest = known.newest
    if newest is None or newest.end <= confirmed:
        return Resumption(known.position, min(confirmed, known.position))
    return Resumption(known.position, max(confirmed, newest.lsn), newest)


def _foreign(known: JournalView, server: ServerView, slot_name: str) -> str:
    if known.system_id and known.system_id != server.system_id:
        return f"the journal knows this source as system {known.system_id}; the server behind the connection string is {server.system_id}"
    if known.database and known.database != server.database:
        return f"the journal knows this source as database {known.database}; the connection string names {server.database}"
    slot = server.slot
    if slot is not None and (slot.plugin != "pgoutput" or slot.temporary or slot.database != server.database):
        raise Refused(
            f"replication slot {slot_name} exists with plugin {slot.plugin or 'none'} in database {slot.database or 'none'}: not ours",
            hint="choose another slot name",
        )
    return ""


def _lost(known: JournalView, server: ServerView, slot_name: str) -> Gap | None:
    """Why the server cannot deliver what follows the journal's end; ``None`` when it can."""
    if known.timeline and known.timeline != server.timeline:
        end = server.switches.get(known.timeline)
        if end is None:
            return _gap(
                known, "timeline_changed", f"the server is on timeline {server.timeline}, which does not descend from {known.timeline}"
            )
        if known.position > end:
            return _gap(
                known,
                "timeline_changed",
                f"timeline {known.timeline} ended at {format_position(end)}; the journal holds transactions of it up to"
                f" {format_position(known.position)} that the server no longer has",
                position=end,
            )
    if known.position > server.position:
        return _gap(
            known,
            "timeline_changed",
            f"the server's log ends at {format_position(server.position)}, behind the journal: it was put back from an older copy",
            position=server.position,
        )
    slot = server.slot
    if server.diverged:
        return _gap(known, "timeline_changed", server.diverged, position=min(slot.confirmed, known.position) if slot else 0)
    if slot is None:
        return _gap(known, "slot_lost", f"replication slot {slot_name} does not exist any more")
    if slot.wal_status == "lost" or slot.invalid:
        return _gap(known, "slot_lost", f"the server invalidated replication slot {slot_name}: {slot.invalid or 'its log was removed'}")
    if slot.confirmed > known.position:
        return _gap(
            known,
            "slot_ahead",
            f"replication slot {slot_name} was moved to {format_position(slot.confirmed)}:"
            " what lies between was confirmed by somebody else",
        )
    if server.exposed:
        return _gap(known, "redacted", f"what follows may hold values that are redacted by now, and is left out: {server.exposed}")
    if server.unpublished:
        return _gap(known, "publication_lost", f"a publication was dropped, and what was written without it is lost: {server.unpublished}")
    if server.undecodable:
        return _gap(known, "log_undecodable", f"the server fails to decode its log at the journal's end: {server.undecodable}")
    return None


def _gap(known: JournalView, reason: str, detail: str, *, position: int = 0) -> Gap:
    return Gap(what="all", reason=reason, detail=detail, from_position=format_position(position or known.position))


def _not_ours(slot_name: str, *, kept: bool = False) -> Refused:
    """``kept``: it may be ours all the same, and only its owner can tell: another archive may use the same name there."""
    if kept:
        return Refused(
            f"replication slot {slot_name} exists at this system: pg_upgrade kept the one of this archive (17 and newer), or another"
            " archive made it",
            hint=f"after pg_upgrade: SELECT pg_drop_replication_slot({literal(slot_name)}), and start again; else choose another slot name",
        )
    return Refused(
        f"replication slot {slot_name} exists, and this archive did not create it",
        hint=f"choose another slot name; or, if nobody needs it: SELECT pg_drop_replication_slot({literal(slot_name)})",
    )
