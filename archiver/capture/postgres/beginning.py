"""A history of one database begins: what is lost with the one before it, and the slot of the new one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import structlog

from archiver.capture.postgres.catalog import ddl_triggers
from archiver.capture.postgres.catalog.publication import reconcile_publications
from archiver.capture.postgres.session.slot import NewSlot, SlotExistsError, create_slot, drop_slot
from archiver.errors import HistoryLost, Refused
from archiver.journal.entry import Kind

if TYPE_CHECKING:
    from archiver.capture.postgres.config import PostgresConfig
    from archiver.capture.postgres.session.replication import Connection
    from archiver.capture.postgres.source_entries import SourceEntries
    from archiver.capture.postgres.start.decision import ServerView
    from archiver.journal.entry import SourceMark
    from archiver.journal.records import Gap
    from archiver.postgres.records import Catalog

log = structlog.get_logger()


async def record_loss(source: str, gap: Gap, config: PostgresConfig, entries: SourceEntries, mark: SourceMark) -> None:
    """Journal ``gap``, the history that is lost; ``mark`` is the source's newest. ``HistoryLost`` when the settings want to stop there."""
    if config.on_history_lost == "stop" and gap.reason != "system_changed":
        raise HistoryLost(
            f"history after {gap.from_position} is lost: {gap.detail}",
            hint="set on_history_lost: rebaseline to record the gap and take a new baseline",
        )
    log.error("history_lost", source=source, reason=gap.reason, detail=gap.detail)
    await entries.append(Kind.GAP, msgspec.json.encode(msgspec.structs.replace(gap, from_time=mark.changed)))


async def make_slot(
    config: PostgresConfig,
    entries: SourceEntries,
    query: Connection,
    replication: Connection,
    server: ServerView,
    catalog: Catalog,
    *,
    failover: bool,
    drop: bool,
) -> NewSlot:
    """Make the slot and what belongs to it. That we are about to is durable before; the record that it was done is the caller's.

    ``drop``: there is one of ours, which goes first. ``Refused`` when somebody else made one of that name just now.
    """
    if config.ddl != "poll":
        await ddl_triggers.install(query)
    await reconcile_publications(query, config, catalog)
    await entries.record_slot(config.slot, server, "creating")
    if drop:
        await drop_slot(replication, config.slot)
    try:
        return await create_slot(replication, query, config.slot, failover=failover, timeout_seconds=config.slot_timeout_seconds)
    except SlotExistsError:
        await entries.record_slot(config.slot, server, "dropped")
        raise Refused(f"replication slot {config.slot} was created by somebody else just now", hint="choose another slot name") from None
