"""Changes of the schema that our event trigger surely announced, and that no look at the catalog followed before the next: gaps.

The plan of a restore decides the same for its point; this is for whoever asks without one: `window` and `status`. Pure.
"""

from __future__ import annotations

from collections.abc import Callable

from archiver.journal.entry import Kind, Placed
from archiver.journal.record_reader import read_record
from archiver.journal.records import Gap
from archiver.postgres.announcements import UNSEEN, surely_by_tag
from archiver.postgres.lsn import parse_lsn
from archiver.postgres.records import SCHEMA_UNCERTAIN, Announced, Look, Schema
from archiver.postgres.visibility import Visible


class UnseenChanges:
    """Fed with the runs of any sources in the journal's order. Each gap is a source, the number of its entry, and what is not known."""

    def __init__(self) -> None:
        self._open: dict[str, dict[int, tuple[int, Announced]]] = {}
        """By source and the LSN of the commit: those that no look followed."""
        self._looked_at: dict[str, int] = {}
        """By source the newest commit that a look followed: what is sent again after a restart was looked at before."""

    def feed(self, placed: Placed) -> list[tuple[str, int, Gap]]:
        """Take the next run; the gaps that it ends. Raises ``Corrupt``."""
        run = placed.run
        if run.kind is Kind.PG_ANNOUNCED:
            for seq, body in enumerate(run.bodies(), placed.first):
                said = read_record(body, Announced, placed)
                if surely_by_tag(said.tags) and parse_lsn(said.lsn) > self._looked_at.get(run.source, 0):
                    self._open.setdefault(run.source, {}).setdefault(parse_lsn(said.lsn), (seq, said))
            return []
        if run.kind is Kind.CHECKPOINT:
            # What follows may be another server's.
            self._looked_at.pop(run.source, None)
        if run.source not in self._open:
            return []
        if run.kind is Kind.PG_SCHEMA:
            visible = Visible.of(read_record(next(run.bodies()), Schema, placed))
            return self._looked(run.source, lambda said: visible.sees(said.xid, parse_lsn(said.lsn)))
        if run.kind is Kind.PG_LOOK:
            *_, newest = run.bodies()
            visible = Visible.of_look(read_record(newest, Look, placed))
            return self._looked(run.source, lambda said: visible.sees(said.xid, parse_lsn(said.lsn)))
        # A complete state ends what is open by then.
        return self._rest(run.source) if run.kind is Kind.CHECKPOINT else []

    def rest(self) -> list[tuple[str, int, Gap]]:
        """Those that are open at the journal's end."""
        return [gap for source in list(self._open) for gap in self._rest(source)]

    def _looked(self, source: str, seen: Callable[[Announced], bool]) -> list[tuple[str, int, Gap]]:
        """A look saw some: the schema behind the last of them is known, and what was between them is not."""
        waiting = self._open.pop(source)
        found = [each for _, each in sorted(waiting.items()) if seen(each[1])]
        if left := {lsn: each for lsn, each in waiting.items() if not seen(each[1])}:
            self._open[source] = left
        if found:
            self._looked_at[source] = max(self._looked_at.get(source, 0), parse_lsn(found[-1][1].lsn))
        if len(found) < 2:
            return []
        (seq, first), (_, last) = found[0], found[-1]
        changes = [each for _, each in found[:-1]]
        return [(source, seq, _gap(changes, from_position=first.lsn, to_position=last.lsn, from_time=first.time, to_time=last.time))]

    def _rest(self, source: str) -> list[tuple[str, int, Gap]]:
        found = [each for _, each in sorted(self._open.pop(source).items())]
        seq, first = found[0]
        return [(source, seq, _gap([each for _, each in found], from_position=first.lsn, from_time=first.time))]


def _gap(changes: list[Announced], *, from_position: str, from_time: int, to_position: str = "", to_time: int = 0) -> Gap:
    tags = ", ".join(dict.fromkeys(tag for each in changes for tag in each.tags))
    return Gap("schema", SCHEMA_UNCERTAIN, f"{UNSEEN}: {tags}", from_position, to_position, from_time, to_time)
