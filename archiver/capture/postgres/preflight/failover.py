"""Preflight's findings about failover: whether history goes on after a standby was promoted, and what of the conditions is missing."""

from __future__ import annotations

from collections.abc import Iterator

from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.preflight.facts import Facts
from archiver.capture.postgres.preflight.findings import Finding
from archiver.capture.postgres.session.failover import SINCE, can_hang, listed, unread, wants_failover


def slot_gets_failover(facts: Facts, config: PostgresConfig) -> bool:
    """Whether the slot is to be one that standbys may keep."""
    return wants_failover(
        facts.version,
        config.slot,
        synchronous_standby_names=facts.settings.get("synchronous_standby_names", ""),
        synchronized_standby_slots=facts.settings.get("synchronized_standby_slots", ""),
    )


def failover_findings(facts: Facts, config: PostgresConfig) -> Iterator[Finding]:
    """What a failover would do to history, and what keeps the stream waiting."""
    if facts.version < SINCE:
        if facts.standbys:
            yield Finding(
                "failover",
                "server",
                "it has a standby; logical slots do not survive a failover before version 17: the journal then records a gap and a new"
                " baseline",
                "17 and newer keep them (sync_replication_slots, hot_standby_feedback, synchronized_standby_slots)",
                "note",
            )
        return
    names, waited_for = (facts.settings.get(name, "") for name in ("synchronous_standby_names", "synchronized_standby_slots"))
    if can_hang(config.slot, synchronous_standby_names=names, synchronized_standby_slots=waited_for):
        yield Finding(
            "failover_hang",
            "server",
            f"synchronized_standby_slots is {waited_for}, and synchronous_standby_names ({names}) names this archive: with FAILOVER on its"
            " slot every commit would wait for the archive while the archive waits for the standby, and none would return once the standby"
            " is gone (FIRST 1 does not help: what it falls back to is that standby). So the slot has no FAILOVER, and a failover is a gap",
            "choose one: take this archive out of synchronous_standby_names (history goes on after a failover), or empty"
            " synchronized_standby_slots (no commit that the archive lacks)",
            "warning",
        )
        return
    if dead := unread(waited_for, facts.read_slots):
        yield Finding(
            "failover_waits",
            "server",
            f"synchronized_standby_slots names {', '.join(dead)}, which nobody reads: the server sends the archive nothing until a standby"
            " does, and keeps its log meanwhile",
            "start the standby, or take its slot out of synchronized_standby_slots",
            "warning",
        )
    meant = facts.slot_sync or bool(waited_for) or facts.settings.get("sync_replication_slots") == "on"
    if facts.standbys or meant:
        yield _conditions(facts, waited_for, meant=meant)


def _conditions(facts: Facts, waited_for: str, *, meant: bool) -> Finding:
    """All conditions, with what is seen of each from here."""
    slotless = [standby.name for standby in facts.standbys if not standby.slot]
    deaf = [standby.name for standby in facts.standbys if standby.slot and not standby.feedback]
    aside = [standby.slot for standby in facts.standbys if standby.slot and standby.slot not in listed(waited_for)]
    missing: list[tuple[str, str]] = []
    if not facts.standbys:
        missing.append(("no standby streams now", "start the standby"))
    if not facts.slot_sync:
        missing.append(
            (
                "no standby is seen to synchronize slots",
                "at the standby: sync_replication_slots = on, and a dbname in its primary_conninfo",
            )
        )
    if slotless:
        missing.append(
            (f"{', '.join(slotless)} streams without a physical slot", "at the standby: primary_slot_name, and a physical slot for it here")
        )
    if deaf:
        missing.append((f"{', '.join(deaf)} gives no feedback", "at the standby: hot_standby_feedback = on"))
    if not waited_for or aside:
        what = f"does not name {', '.join(aside)}" if waited_for else "is empty"
        missing.append(
            (
                f"synchronized_standby_slots {what}: the journal can be ahead of a standby that is promoted",
                "here: name the standby's physical slot in synchronized_standby_slots (the archive then waits for that standby)",
            )
        )
    if not missing:
        return Finding(
            "failover",
            "server",
            "history goes on after a failover: slots are synchronized (sync_replication_slots), hot_standby_feedback is on, and the archive"
            f" waits for the standby (synchronized_standby_slots is {waited_for})",
            "",
            "note",
        )
    return Finding(
        "failover",
        "server",
        "after a failover history may have a gap and begin with a new baseline: " + "; ".join(reason for reason, _ in missing),
        "; ".join(remedy for _, remedy in missing),
        "warning" if meant else "note",
    )
