"""How the archive and its sources stand: one value that the command line, the probes, the metrics and the logs show.

What a journal says of itself needs no running archiver (``of_journal``); what a running archiver knows more is added by the service.
"""

from __future__ import annotations

import msgspec

from archiver.journal.segment import SegmentHeader


class SourceLine(msgspec.Struct, kw_only=True):
    """One source as the journal shows it, and, when it was asked, as the source itself shows it. Times in microseconds, 0 unknown."""

    name: str
    kind: str
    durable_position: str
    """Everything before it is in the journal."""
    newest_change: int
    """Source's own time (commit) of the newest durable change; 0 where the source gives none."""
    observed: int
    """When the newest durable entry was received."""
    checkpoint: int
    """Entry number of the newest complete baseline or list; 0: nothing can be restored yet."""
    state: str = ""
    """What a running archiver or the source says: streaming, baseline, failed, slot lost, …"""
    source_position: str = ""
    """Where the source itself is now."""
    lag_bytes: int | None = None
    retained_bytes: int | None = None
    """WAL that the source keeps for us."""
    problem: str = ""


class ArchiveStatus(msgspec.Struct, kw_only=True):
    """The archive as a whole."""

    archive: str
    url: str
    slot: int
    """Newest segment."""
    epoch: int
    last_entry: int
    last_commit: int
    """Journal time of the newest segment."""
    age_seconds: float
    """Since then."""
    writer: str = ""
    sources: list[SourceLine] = []


def of_journal(tail: SegmentHeader, url: str, now: int, kinds: dict[str, str]) -> ArchiveStatus:
    """What the newest segment's header tells. ``kinds`` names each source's kind where it is known."""
    lines = [
        SourceLine(
            name=name,
            kind=kinds.get(name.split("/", 1)[0], ""),
            durable_position=mark.position,
            newest_change=mark.changed,
            observed=mark.observed,
            checkpoint=mark.checkpoint,
        )
        for name, mark in sorted(tail.sources.items())
        if name
    ]
    return ArchiveStatus(
        archive=tail.archive,
        url=url,
        slot=tail.slot,
        epoch=tail.epoch,
        last_entry=tail.first + tail.count - 1,
        last_commit=tail.time,
        age_seconds=max(0.0, (now - tail.time) / 1e6),
        sources=lines,
    )
