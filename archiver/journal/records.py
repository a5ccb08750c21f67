"""JSON bodies that the journal itself writes, for every kind of source.

Evolution: fields are only added, always with a default; names and types never change; unknown fields are ignored.
"""

from __future__ import annotations

import msgspec


class Session(msgspec.Struct, frozen=True):
    """A writer's fence. Segments of a lower epoch with later numbers are void (``docs/reference/format.md``)."""

    epoch: int
    instance: str
    """Who writes, stable over restarts of the same instance: host name, or what the settings say."""
    version: str
    started: int
    sources: dict[str, str] = {}
    """Source name to kind (``postgres`` or ``kubernetes``)."""
    nonce: str = ""
    """Makes this life's fence differ from every other's, so that a fence read back is known to be one's own."""


class Close(msgspec.Struct, frozen=True):
    """The writer stopped in order: everything it received is durable and acknowledged."""

    instance: str
    time: int


class Gap(msgspec.Struct, frozen=True):
    """History that is not known: what, from when, to when. Restores and queries that cross it say so."""

    what: str
    """``all`` or what is missing: ``table public.runs``, ``resource agentruns.agents.proompteng.ai``."""
    reason: str
    """A stable word: slot_lost, slot_ahead, publication_lost, redacted, log_undecodable, system_changed, timeline_changed, table_added,
    table_rewritten, table_not_readable, updates_not_published, too_large, schema_uncertain, watch_expired, cluster_changed, events_missed,
    resource_gone, unwatched, not_selected, overflow, unredacted, unknown."""
    detail: str = ""
    from_position: str = ""
    """Last position that is known. Empty: from the source's beginning."""
    to_position: str = ""
    """First position that is known again. Empty: open until the next checkpoint of the source (or the table)."""
    from_time: int = 0
    to_time: int = 0
    relation: int = 0
    """PostgreSQL: oid of the table that ``what`` names, which it keeps when it is renamed. 0: not told."""

    @property
    def table(self) -> str:
        """The name that the one table had of which it is, without quotes; empty: it is of more, or of something else."""
        kind, _, name = self.what.replace('"', "").partition(" ")
        return name if kind == "table" else ""

    def names(self, relation: int, schema: str, table: str) -> bool:
        """Whether it is a gap of that table: by its oid where that is told, else by its name, however that is quoted."""
        if self.relation:
            return self.relation == relation
        return self.table == f"{schema}.{table}".replace('"', "")


class ClockStep(msgspec.Struct, frozen=True):
    """A wall clock was set: the archiver's, or (in an entry of a source) the source's. Times may be wrong around it."""

    time: int
    """By the clock that times are written by."""
    step: int
    """Microseconds by which the wall clock differs from it; 0: no longer."""
    believed: bool = False
    """Times are written by the wall clock's new course from here on."""
    reason: str = "set"
    """set: while the archiver ran; behind: it began with a clock behind the journal; source: a commit is older than one before it."""


class Mark(msgspec.Struct, frozen=True):
    """A name for a place in the journal, for ``--at mark:NAME``."""

    name: str
    time: int
