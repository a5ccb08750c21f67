"""Journal -> plan -> database or folder: the way in for commands. A plan is made first, can be shown, and is what runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archiver.errors import ArchiverError, Refused
from archiver.replay.postgres.excerpt_restore import ExcerptReport, ExcerptRestoration, plan_excerpt
from archiver.replay.postgres.plan.plan import TABLE_COLUMNS, RestorePlan, RestoreReport
from archiver.replay.postgres.plan.planner import plan_restore
from archiver.replay.postgres.write.owner_query import ask
from archiver.replay.postgres.write.plan_records import Progress
from archiver.replay.postgres.write.scratch_database import abandoned_databases, scratch_database
from archiver.replay.postgres.write.table_hashes import HashedDatabase, hash_tables
from archiver.replay.postgres.write.target_preview import occupied, preview_target
from archiver.replay.postgres.write.to_database import write_database
from archiver.replay.postgres.write.to_folder import write_folder

if TYPE_CHECKING:
    from archiver.journal.reader import Reader
    from archiver.replay.points import Point
    from archiver.replay.restoration import Options
    from archiver.replay.targets import Target
    from archiver.store.protocol import Store

__all__ = [
    "TABLE_COLUMNS",
    "DatabaseRestoration",
    "ExcerptReport",
    "ExcerptRestoration",
    "HashedDatabase",
    "RestorePlan",
    "RestoreReport",
    "abandoned_databases",
    "ask",
    "hash_tables",
    "plan_database",
    "plan_restore",
    "refuse_gaps",
    "restore_to_database",
    "restore_to_folder",
    "scratch_database",
]


@dataclass(slots=True)
class DatabaseRestoration:
    """The ``Restoration`` of one database."""

    source: str
    target: Target | None
    plan: RestorePlan
    in_the_way: list[str]
    """What a target database holds already of what the plan creates: replaced with ``overwrite``, refused without."""
    notes: list[str]
    """What should be known of the target before anything is done there."""
    refusal: ArchiverError | None
    """Why the target cannot be restored into."""
    reader: Reader
    options: Options

    @property
    def moment(self) -> int:
        """See ``Restoration``."""
        return self.plan.point.time

    @property
    def entry(self) -> int:
        """See ``Restoration``."""
        return self.plan.point.entry

    @property
    def gaps(self) -> list[str]:
        """See ``Restoration``."""
        return self.plan.gap_texts

    @property
    def doubts(self) -> list[str]:
        """See ``Restoration``."""
        return self.plan.doubts

    def shown(self) -> dict[str, Any]:
        """See ``Restoration``."""
        refusal = self.refusal.message if self.refusal is not None else None
        return {"plan": self.plan, "in_the_way": self.in_the_way, "notes": self.notes, "refusal": refusal}

    def pause(self) -> None:
        """A database has no leases."""

    async def carry_out(self, progress: Progress) -> RestoreReport:
        """See ``Restoration``; raises as ``restore_to_database`` and ``restore_to_folder`` do."""
        assert self.target is not None
        options, store = self.options, self.reader.store
        if self.target.kind == "database":
            return await write_database(
                self.plan,
                self.reader,
                store,
                self.target.value,
                overwrite=options.overwrite,
                no_owner=options.no_owner,
                configured=options.configured,
                strict=options.strict,
                left_out=options.left_out,
                jobs=options.jobs,
                progress=progress,
            )
        return await write_folder(
            self.plan,
            self.reader,
            store,
            Path(self.target.value),
            overwrite=options.overwrite,
            no_owner=options.no_owner,
            pg_bin=options.pg_bin,
            progress=progress,
        )

    async def close(self) -> None:
        """Nothing is open between planning and carrying out."""


async def plan_database(
    reader: Reader, source: str, target: Target | None, point: Point, options: Options
) -> DatabaseRestoration | ExcerptRestoration:
    """What restoring ``source`` at ``point`` into ``target`` would do. Raises as ``plan_restore`` and ``plan_excerpt`` do.

    A target database is looked at too, so that the plan already says what the restore would refuse or replace.
    """
    if options.excerpt is not None:
        return await plan_excerpt(reader, source, target, point, options, options.excerpt)
    plan = await plan_restore(reader, source, point)
    planned = DatabaseRestoration(source, target, plan, [], [], None, reader, options)
    if target is None or target.kind != "database":
        return planned
    try:
        seen = await preview_target(plan, reader, target.value, no_owner=options.no_owner, configured=options.configured, jobs=options.jobs)
    except ArchiverError as error:
        planned.refusal = error
        return planned
    planned.in_the_way, planned.notes = seen.in_the_way, seen.notes
    if planned.in_the_way and not options.overwrite:
        planned.refusal = occupied(planned.in_the_way)
    return planned


async def restore_to_database(
    plan: RestorePlan,
    reader: Reader,
    store: Store,
    dsn: str,
    *,
    overwrite: bool = False,
    no_owner: bool = False,
    strict: bool = False,
    left_out: Path | None = None,
    jobs: int = 1,
    allow_gaps: bool = False,
    progress: Progress | None = None,
) -> RestoreReport:
    """``write_database`` for a plan that nobody has judged yet: raises ``Refused`` for gaps too, unless they are allowed."""
    refuse_gaps(plan, allow_gaps=allow_gaps)
    return await write_database(
        plan, reader, store, dsn, overwrite=overwrite, no_owner=no_owner, strict=strict, left_out=left_out, jobs=jobs, progress=progress
    )


async def restore_to_folder(
    plan: RestorePlan,
    reader: Reader,
    store: Store,
    folder: Path,
    *,
    overwrite: bool = False,
    allow_gaps: bool = False,
    no_owner: bool = False,
    pg_bin: str = "",
    progress: Progress | None = None,
) -> RestoreReport:
    """``write_folder`` for a plan that nobody has judged yet: raises ``Refused`` for gaps too, unless they are allowed."""
    refuse_gaps(plan, allow_gaps=allow_gaps)
    return await write_folder(plan, reader, store, folder, overwrite=overwrite, no_owner=no_owner, pg_bin=pg_bin, progress=progress)


def refuse_gaps(plan: RestorePlan, *, allow_gaps: bool) -> None:
    """``Refused`` when the state depends on history that is not known, unless that is allowed."""
    if plan.gaps and not allow_gaps:
        gap = plan.gaps[0]
        more = f" (and {len(plan.gaps) - 1} more)" if len(plan.gaps) > 1 else ""
        raise Refused(
            f"{plan.source} at {plan.point.asked} depends on history that is not known: {gap.what}, {gap.reason}{more}",
            hint="choose another point, or accept it with --allow-gaps; --dry-run lists the gaps",
        )
