"""The state at a point, seen from the journal around it: what belongs to it, and what stands behind the point. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from archiver.clock import STEP_SECONDS
from archiver.postgres.lsn import parse_lsn, parse_position
from archiver.postgres.records import SCHEMA_UNCERTAIN
from archiver.postgres.visibility import Visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from archiver.journal.records import Gap
    from archiver.postgres.records import Look, Schema, Sequences, Snapshot
    from archiver.postgres.visibility import Committed
    from archiver.replay.points import Point
    from archiver.replay.postgres.plan.journal_survey import FoundRecord, Survey
    from archiver.replay.postgres.plan.plan import Ref

_BY_DDL = frozenset({"table_added", "table_rewritten"})


@dataclass(frozen=True, slots=True)
class StateAtPoint:
    """Knows the point and the survey, and says of each thing in the journal whether it stands before the point or behind it."""

    point: Point
    survey: Survey

    @property
    def lsn(self) -> int:
        """Where the state ends."""
        if self.point.kind == "lsn":
            return self.point.number
        return self.survey.last.end_lsn if self.survey.last else self.survey.from_lsn

    def has_schema(self, found: FoundRecord[Schema]) -> bool:
        """Whether the entry has nothing from behind the point."""
        record = found.record
        # A baseline's own schema belongs to its snapshot, wherever its entry stands.
        known = parse_lsn(record.lsn) <= self.survey.from_lsn or self._reaches(found.ref, record.lsn, record.taken)
        return known and not self.survey.sees_behind(record)

    def has_poll(self, found: FoundRecord[Sequences]) -> bool:
        """Whether the sequences were read before the point."""
        record, following = found.record, self.survey.next
        within = following is None or parse_lsn(record.lsn) <= following.commit_lsn
        return within and self._reaches(found.ref, record.lsn, record.taken)

    def has_copy(self, copy: FoundRecord[Snapshot]) -> bool:
        """Whether the copy has nothing from behind the point, and nothing from behind a gap of the whole source."""
        broken = self.survey.broken
        if broken is not None and copy.ref.seq > broken[0]:
            return False
        return not self.survey.sees_behind(copy.record)

    def awaits_copy(self) -> bool:
        """Whether a table of the newest schema before the point has no copy yet and is still to get one."""
        survey = self.survey
        earlier = [found.record for found in survey.schemas if not survey.sees_behind(found.record)]
        if not earlier:
            return False
        copied = {table.oid for copy in survey.copies for table in copy.record.tables}
        return bool(set(earlier[-1].catalog.pending) & set(survey.schemas[-1].record.catalog.pending) - copied)

    def is_known(self, reached: int, *, late: bool) -> bool:
        """Whether nothing that is still to be read matters. ``reached``: how far the source was read. ``late``: enough was read."""
        survey = self.survey
        if survey.broken is not None:
            return True
        seen = [found.record.lsn for found in survey.schemas] + [found.record.lsn for found in survey.copies]
        if any(parse_lsn(lsn) > reached for lsn in seen) or self.awaits_copy():
            return False
        if late:
            return True
        # Updates that are not published are counted some time after they happened, and noticed after that.
        if any(table.mode == "insert" for found in survey.schemas for table in found.record.catalog.tables):
            return False
        schema = any(not self.has_schema(found) for found in survey.schemas)
        poll = any(not self.has_poll(found) for found in survey.polls)
        return survey.next is not None and schema and poll

    def crossed_gap(self) -> tuple[int, Gap] | None:
        """The gap of the whole source between the checkpoint and the point, if there is one.

        The point then lies behind the gap's beginning; behind its end the next checkpoint would serve it.
        """
        survey, point = self.survey, self.point
        if survey.broken is None:
            return None
        seq, gap = survey.broken
        if survey.next is not None and survey.next.seq < seq:
            return None
        if point.kind == "entry":
            crossed = point.number >= seq
        elif point.kind == "lsn":
            crossed = bool(gap.from_position) and point.number > parse_lsn(gap.from_position)
        else:
            crossed = point.number > max(survey.changed, gap.from_time)
        return (seq, gap) if crossed else None

    def time_gap(self) -> tuple[int, int] | None:
        """For a point in time under a later commit time: the entry of a commit behind the point that is older, and when it was committed.

        The source's clock was set back then, and a time names several places. Commits that end at nearly one moment are not meant.
        """
        if self.point.kind != "time":
            return None
        for commits in self.survey.behind:
            older = np.flatnonzero(commits.time <= self.point.number - int(STEP_SECONDS * 1_000_000))
            if len(older):
                return int(commits.seq[older[0]]), int(commits.time[older[0]])
        return None

    def schema_gap(self, schema: FoundRecord[Schema], *, certain: bool = False) -> tuple[int, Gap] | None:
        """The gap of the schema that reaches the point; ``None`` when ``schema``, the one at the point, is known not to be in one.

        A schema ends every gap that was recorded before it. The next one after a gap tells that nothing changed before the point, when it
        says the same or says from where on it differs; or when, with what was announced, it made ``schema`` ``certain``. Of several gaps
        without a schema between, the first knows best where they begin: what a new start knows of that is older.
        """
        ended = schema.ref.seq
        for seq, gap in self.survey.gaps:
            # One that says where it ends stands behind the entry that ended it: those entries tell of it.
            if gap.reason != SCHEMA_UNCERTAIN or gap.to_position or seq < ended:
                continue
            following = next((found for found in self.survey.schemas if found.ref.seq > seq), None)
            settled = following is not None and (certain or self._unchanged(schema.record, following.record))
            if self.gap_has_begun(seq, gap, frozenset()) and not settled:
                return seq, gap
            if following is None:
                return None
            ended = following.ref.seq
        return None

    def known_until(self, newest: FoundRecord[Schema], later: FoundRecord[Schema] | None) -> int:
        """LSN up to which ``newest`` is known to have been the schema: the newest look that found it, before the entry ``later``."""
        looks = [look.floor for _, look in self._looks(newest, later)]
        gaps = [gap.from_position for seq, gap in self.survey.gaps if gap.reason == SCHEMA_UNCERTAIN and self._between(newest, seq, later)]
        own = newest.record.floor or newest.record.lsn
        return max(map(parse_position, (own, later.record.since if later is not None else "", *looks, *gaps)))

    def was_sealed(self, newest: FoundRecord[Schema], later: FoundRecord[Schema]) -> bool:
        """Whether keys of announcements were in force from the last look that found ``newest`` until ``later``, as far as anybody saw."""
        sealing = later.record.sealing
        if sealing is None or parse_lsn(sealing.since) > self.known_until(newest, later):
            return False
        if newest.record.dump_version != later.record.dump_version:
            # Another pg_dump may word the same otherwise.
            return False
        return not self.survey.may_lack_seals(newest.record, later.record)

    def unsettled(
        self, newest: FoundRecord[Schema], later: FoundRecord[Schema] | None, changes: Sequence[Committed], behind: Sequence[Committed]
    ) -> list[Committed]:
        """Those of ``changes`` that no look saw which found ``newest``, before the entry ``later``.

        Only looks count that saw none of ``behind``, nor anything behind what was read of the stream: what was announced there is not
        known, and it may have undone what came before.
        """
        left = list(changes)
        for _, look in self._looks(newest, later):
            if not left:
                break
            if not look.end or parse_lsn(look.end) > self.survey.position:
                continue
            visible = Visible.of_look(look)
            # Of a look without a snapshot it is not known which of what ended before its own end it saw.
            if not any(visible.sees(*each) if look.visible else each.commit_lsn < parse_lsn(look.end) for each in behind):
                left = [each for each in left if not visible.sees(*each)]
        return left

    def is_known_here(self, newest: FoundRecord[Schema], later: FoundRecord[Schema] | None) -> bool:
        """Whether a look from behind the point still found ``newest``.

        A change need not leave a commit in the stream: so the point's own position counts, and not that of the last one before it.
        """
        times = [look.taken for _, look in self._looks(newest, later)]
        return self.is_behind(self.known_until(newest, later), max(times, default=0))

    def is_behind(self, lsn: int, time: int) -> bool:
        """Whether what was so up to ``lsn``, and up to ``time`` (0 for not known), was so at the point."""
        survey, point = self.survey, self.point
        if point.kind == "lsn":
            return point.number <= lsn
        if survey.next is not None and survey.next.commit_lsn <= lsn:
            return True
        return survey.reached <= lsn if point.kind == "entry" else point.number <= time

    def _looks(self, newest: FoundRecord[Schema], later: FoundRecord[Schema] | None) -> list[tuple[int, Look]]:
        broken = self.survey.broken
        return [(seq, look) for seq, look in self.survey.looks if self._between(newest, seq, later) and (broken is None or seq < broken[0])]

    def _between(self, newest: FoundRecord[Schema], seq: int, later: FoundRecord[Schema] | None) -> bool:
        return newest.ref.seq < seq and (later is None or seq < later.ref.seq)

    def _unchanged(self, schema: Schema, following: Schema) -> bool:
        since = parse_position(following.since)
        same = bool(following.fingerprint) and following.fingerprint == schema.fingerprint
        return same or (since > 0 and self.lsn <= since)

    def gap_has_begun(self, seq: int, gap: Gap, announced: frozenset[int]) -> bool:
        """Whether a table's gap may reach the point. It begins with the last look that found nothing, some time before what made it.

        ``announced``: the tables whose changes are announced in the stream and can be changes of this one; empty when none are.
        """
        begins = parse_lsn(gap.from_position) if gap.from_position else 0
        if announced and gap.reason in _BY_DDL and self.survey.announced_behind_only(begins, seq, announced):
            return False
        if self.point.kind == "entry":
            return begins <= self.lsn or seq <= self.point.number
        if self.point.kind == "lsn":
            return begins <= self.point.number
        return self.survey.next is None or begins < self.survey.next.commit_lsn

    def gap_has_ended(self, gap: Gap) -> bool:
        """Whether a table's gap says where it ends, and that is before the point."""
        return bool(gap.to_position) and parse_lsn(gap.to_position) <= self.lsn

    def _reaches(self, ref: Ref, lsn: str, taken: int) -> bool:
        """Whether something that was read from the server, at ``lsn``, was so before the point as the user said it."""
        if self.point.kind == "entry":
            return ref.seq <= self.point.number
        return taken <= self.point.number if self.point.kind == "time" else parse_lsn(lsn) <= self.point.number
