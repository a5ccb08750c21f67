"""What ``decide`` needs to know of the server: who it is, and how its slot stands."""

from __future__ import annotations

from typing import Any

import psycopg

from archiver.capture.postgres.session.replication import Connection, explained, identify
from archiver.capture.postgres.start.decision import JournalView, ServerView, SlotView
from archiver.postgres.lsn import parse_position


async def read_server(replication: Connection, query: Connection, slot_name: str, known: JournalView) -> ServerView:
    """Identity, log position, slot, and where earlier timelines ended if ``known`` is of another one. Raises as ``explained``."""
    try:
        system_id, timeline, position, database = await identify(replication)
        return ServerView(
            system_id=str(system_id),
            timeline=int(timeline),
            database=str(database),
            position=parse_position(position),
            slot=await slot_view(query, slot_name),
            switches=await _switches(replication, int(timeline)) if known.timeline not in (0, int(timeline)) else {},
        )
    except psycopg.Error as error:
        raise explained(error, "asking the server who it is") from error


async def slot_view(query: Connection, slot_name: str) -> SlotView | None:
    """The slot of that name; ``None`` when there is none. Raises ``psycopg.Error``."""
    # As JSON, because the view has other columns in every version.
    cursor = await query.execute("SELECT pg_catalog.to_jsonb(s) FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = %s", [slot_name])
    row = await cursor.fetchone()
    if row is None:
        return None
    view: dict[str, Any] = row[0]
    return SlotView(
        plugin=view.get("plugin") or "",
        database=view.get("database") or "",
        confirmed=parse_position(view.get("confirmed_flush_lsn") or ""),
        wal_status=view.get("wal_status") or "",
        invalid=view.get("invalidation_reason") or ("conflicting" if view.get("conflicting") else ""),
        temporary=bool(view.get("temporary")),
        failover=bool(view.get("failover")),
    )


async def _switches(replication: Connection, timeline: int) -> dict[int, int]:
    if timeline <= 1:
        return {}
    _, content = await _row(replication, f"TIMELINE_HISTORY {timeline}")
    return timeline_ends(content if isinstance(content, bytes) else str(content).encode())


def timeline_ends(history: bytes) -> dict[int, int]:
    """Timeline to its end, from a timeline history file (manual 26.3.6): lines of timeline, LSN, reason."""
    ends: dict[int, int] = {}
    for line in history.decode(errors="replace").splitlines():
        words = line.split("#")[0].split(None, 2)
        if len(words) >= 2:
            ends[int(words[0])] = parse_position(words[1])
    return ends


async def _row(replication: Connection, command: str) -> tuple[Any, ...]:
    cursor = await replication.execute(command.encode())
    row = await cursor.fetchone()
    if row is None:
        raise psycopg.InternalError(f"no answer to {command.split(maxsplit=1)[0]}")
    return row
