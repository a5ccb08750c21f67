"""How the server sees our slot: how much log it keeps for us, and how much longer it will."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg

from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.session.access import Access, Session, translated
from archiver.capture.postgres.session.failover import can_hang, unread
from archiver.capture.status import SourceStatus
from archiver.postgres.lsn import format_position, parse_position

if TYPE_CHECKING:
    from archiver.clock import Clock

_CONFIRM_SECONDS = 5.0

_QUERY = (
    "SELECT pg_catalog.to_jsonb(s), pg_catalog.pg_current_wal_flush_lsn()::text,"
    " pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn)::int8,"
    " (SELECT r.sync_state FROM pg_catalog.pg_stat_replication r WHERE r.pid = s.active_pid),"
    " coalesce(pg_catalog.current_setting('synchronous_standby_names', true), ''),"
    " coalesce(pg_catalog.current_setting('synchronized_standby_slots', true), ''),"
    " ARRAY(SELECT o.slot_name::text FROM pg_catalog.pg_replication_slots o WHERE o.active)"
    " FROM (SELECT %s::text AS name) wanted LEFT JOIN pg_catalog.pg_replication_slots s ON s.slot_name = wanted.name"
)


@dataclass(frozen=True)
class SlotHealth:
    """One look at the slot. LSNs as numbers, 0 unknown; sizes in bytes, ``None`` unknown or unlimited."""

    position: int = 0
    """Where the server's log is flushed to."""
    confirmed: int = 0
    exists: bool = False
    active: bool = False
    wal_status: str = ""
    invalid: str = ""
    retained_bytes: int | None = None
    safe_bytes: int | None = None
    sync_state: str = ""
    """``sync``, ``quorum`` or ``potential``: commits wait for us, or soon may."""

    failover: bool = False
    """Standbys may keep the slot."""
    can_hang: bool = False
    """With ``failover``, commits can wait for us while we wait for a standby."""
    unread: list[str] = field(default_factory=list)
    """Slots of standbys that the stream waits for although nobody reads them."""

    @property
    def commits_wait(self) -> bool:
        """``synchronous_standby_names`` names us."""
        return self.sync_state in ("sync", "quorum", "potential")


async def read_health(session: Session, slot: str) -> SlotHealth:
    """The slot as it is now. Raises ``psycopg.Error``."""
    row = await (await session.execute(_QUERY, [slot])).fetchone()
    assert row is not None
    view: dict[str, Any] = row[0] or {}
    failover = bool(view.get("failover"))
    return SlotHealth(
        position=parse_position(row[1]),
        confirmed=parse_position(view.get("confirmed_flush_lsn") or ""),
        exists=bool(view.get("slot_name")),
        active=bool(view.get("active")),
        wal_status=view.get("wal_status") or "",
        invalid=view.get("invalidation_reason") or "",
        retained_bytes=row[2],
        safe_bytes=view.get("safe_wal_size"),
        sync_state=row[3] or "",
        failover=failover,
        can_hang=failover and can_hang(slot, synchronous_standby_names=row[4], synchronized_standby_slots=row[5]),
        unread=unread(row[5], row[6]) if failover else [],
    )


async def await_confirmation(session: Session, slot: str, position: int, clock: Clock) -> SlotHealth:
    """Look until the slot has acknowledged ``position``, for a few seconds at most; the last look. Raises ``psycopg.Error``."""
    until = clock.monotonic() + _CONFIRM_SECONDS
    while (health := await read_health(session, slot)).confirmed < position and clock.monotonic() <= until:
        await clock.sleep(0.05)
    return health


def warnings_of(health: SlotHealth) -> list[str]:
    """What an operator should know of it now."""
    if health.wal_status == "unreserved":
        return ["the slot is behind max_slot_wal_keep_size: the server drops the log that it needs at its next checkpoint"]
    if health.wal_status == "lost":
        return ["the server has dropped log that the slot needs: history will be lost"]
    if health.unread:
        names = ", ".join(health.unread)
        return [f"synchronized_standby_slots names {names}, which nobody reads: the server sends nothing until a standby does"]
    return []


async def ask_status(name: str, config: PostgresConfig, durable_position: str) -> SourceStatus:
    """What the server says of the source, asked from outside the running archiver. Raises ``Unavailable``, ``Invalid``."""
    async with await Access.of(config.dsn).connect() as session:
        try:
            health = await read_health(session, config.slot)
        except psycopg.Error as error:
            raise translated(error, "looking at the slot") from error
    durable = parse_position(durable_position)
    return SourceStatus(
        name=name,
        kind="postgres",
        state="streaming" if health.active else "stopped",
        detail="" if health.active else f"nobody reads slot {config.slot}" if health.exists else f"slot {config.slot} does not exist",
        durable=durable_position,
        acknowledged=format_position(health.confirmed),
        source_position=format_position(health.position),
        lag_bytes=max(0, health.position - durable) if durable else None,
        retained_bytes=health.retained_bytes,
        safe_bytes=health.safe_bytes,
        warnings=warnings_of(health),
    )
