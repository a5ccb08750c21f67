"""The steps of a drill, each timed.

verify -> scratch places -> plan -> restore each source, with the comparison that every restore ends with -> assertions of the owner ->
evidence -> clean up -> record. What was proven is an object ``drills/{time}.json`` of the archive, and one that found something wrong is
``failed-drills/{time}.json``; the running archiver shows both as metrics.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from archiver import disk
from archiver.clock import Clock, to_text
from archiver.drill import evidence as written
from archiver.drill.assertions import asked_of, outcomes, require_askable, restored_objects
from archiver.drill.evidence import Evidence, SourceEvidence, TableEvidence
from archiver.errors import ArchiverError, Corrupt, Partial, Unmet
from archiver.journal.drill_reports import DrillReport, Step, record
from archiver.journal.kept_segments import KeptSegments
from archiver.journal.reader import Reader
from archiver.journal.verifier import verify
from archiver.pages import page
from archiver.postgres.captured_systems import CapturedDatabase, named_databases
from archiver.replay.assertions import DrillOptions
from archiver.replay.kubernetes.restore import ClusterRestoration
from archiver.replay.postgres.restore import (
    DatabaseRestoration,
    RestoreReport,
    abandoned_databases,
    hash_tables,
    scratch_database,
)
from archiver.replay.restoration import Options, Progress, Restoration
from archiver.restore import RestoredSource, carry_out, close_plans, make_plans, require_apart, source_kinds
from archiver.scratch_folder import ScratchFolder, remove_abandoned
from archiver.store.protocol import Store

log = structlog.get_logger()

_DATABASES = "archiver_drill_"
"""How names of scratch databases begin."""


class Scratch(msgspec.Struct, frozen=True):
    """Where a drill may restore to; everything is removed afterwards."""

    folder: Path
    dsn: str = ""
    """A PostgreSQL server whose role may create databases; empty: rows go into the folder."""
    kubeconfig: str = ""
    """``PATH[#CONTEXT]`` of a scratch API server; empty: objects go into the folder. What was created there stays."""


class Proof(msgspec.Struct, frozen=True):
    """What a drill has to show beside the restore itself."""

    asked: DrillOptions = DrillOptions()
    folder: Path | None = None
    """For the evidence; ``None``: none is written."""


_FINDINGS = frozenset({Corrupt.exit_code, Partial.exit_code, Unmet.exit_code})
"""What says something of the archive or of what is in it; the rest is about scratch places, or about what was asked."""


async def run_drill(
    store: Store,
    clock: Clock,
    at: str,
    wanted: Sequence[str],
    scratch: Scratch,
    options: Options,
    progress: Callable[[str], AbstractContextManager[Progress]],
    proof: Proof = Proof(),  # noqa: B008 -- frozen
) -> DrillReport:
    """Restore ``wanted`` sources (all when empty) as they were at ``at``. Never raises for a failed step: the report says it.

    Raises as ``ScratchFolder.take`` for a scratch folder that is in use, ``Refused`` for a folder of evidence in the archive,
    ``Unavailable`` when a passed drill cannot be recorded, as ``disk.explained`` when the evidence cannot be written. Cancelled or failed,
    it removes what it made; that it could not is a failed step too.
    """
    if proof.folder is not None:
        require_apart(proof.folder, store.url, "the folder for the evidence")
        await asyncio.to_thread(written.prepare, proof.folder)
    folder = ScratchFolder(scratch.folder)
    used = await asyncio.to_thread(folder.take)
    report = DrillReport(at, clock.now(), sources=list(wanted))
    shown = Evidence(
        passed=False,
        started=to_text(report.started),
        finished="",
        asked=at,
        proven_up_to="",
        restore_seconds=0.0,
        url=store.url,
        versions=written.versions(),
        steps=[],
    )
    places = AsyncExitStack()
    try:
        kept = places.enter_context(KeptSegments())
        drill = _Drill(Reader(store, kept=kept), report, clock, scratch, options, proof, places, shown)
        await drill.prove(wanted, progress, used=used)
    except ArchiverError:
        log.warning("drill_failed", step=report.steps[-1].name, reason=report.steps[-1].detail)
    finally:
        with contextlib.suppress(ArchiverError):
            async with _step(report, clock, "clean up"):
                try:
                    await places.aclose()
                finally:
                    await asyncio.to_thread(folder.remove)
    report.passed = all(step.ok for step in report.steps)
    report.finished = clock.now()
    report.restore_seconds = sum(step.seconds for step in report.steps if step.name in {"plan", "restore"})
    if report.passed:
        await record(store, report)
    elif any(step.exit_code in _FINDINGS for step in report.steps):
        try:
            await record(store, report)
        except ArchiverError as error:
            # It fails in any case, by what it found.
            log.warning("failed_drill_not_recorded", reason=error.message)
    if proof.folder is not None:
        written.complete(shown, report)
        for path in await asyncio.to_thread(written.write, shown, proof.folder, report.finished):
            log.info("evidence_written", file=str(path))
    return report


@dataclass(frozen=True)
class _Drill:
    reader: Reader
    report: DrillReport
    clock: Clock
    scratch: Scratch
    options: Options
    proof: Proof
    places: AsyncExitStack
    """What it holds is in use until it is closed."""
    shown: Evidence

    async def prove(self, wanted: Sequence[str], progress: Callable[[str], AbstractContextManager[Progress]], *, used: bool) -> None:
        """The steps up to the proof. ``used``: a killed drill had left the folder."""
        report, clock, options = self.report, self.clock, self.options
        async with _step(report, clock, "verify") as step:
            await self._verify(step)
        async with _step(report, clock, "scratch") as step:
            known = await source_kinds(self.reader)
            assertions = asked_of(self.proof.asked, wanted or known, known)
            left = await _left_behind(self.scratch, used=used)
            targets = await self.places.enter_async_context(_targets(self.reader, known, wanted, self.scratch, clock, options.configured))
            step.detail = f"{len(targets)} places{left}"
        async with _step(report, clock, "plan") as step:
            plans = await make_plans(self.reader, at=report.at, targets=targets, wanted=wanted, options=options, clock=clock)
            self.places.push_async_callback(close_plans, plans)
            report.sources = [planned.source for planned in plans.sources]
            report.point = min((planned.moment for planned in plans.sources if planned.moment), default=0)
            report.doubts = [f"{planned.source}: {doubt}" for planned in plans.sources for doubt in planned.doubts]
            require_askable(assertions, plans.sources)
            step.detail = f"{len(plans.sources)} sources"
        async with _step(report, clock, "restore") as step:
            done = await carry_out(plans, options, progress)
            step.detail = ", ".join(f"{each.source} -> {each.target}" for each in done)
            self.shown.sources = [_told(planned, each) for planned, each in zip(plans.sources, done, strict=True)]
            problems = [problem for each in done for problem in each.problems]
            if problems:
                raise Partial(
                    f"{len(problems)} objects are not as captured, first {problems[0]}", hint=f"see {page('runbooks/failed-drill.md')}"
                )
        try:
            if assertions:
                async with _step(report, clock, "assertions") as step:
                    report.assertions = await outcomes(assertions, plans.sources, seconds=self.proof.asked.statement_seconds)
                    step.detail = f"{len(assertions)} hold"
                    failed = [each.name for each in report.assertions if not each.holds]
                    if failed:
                        raise Unmet(f"{len(failed)} of {len(assertions)} assertions do not hold: {', '.join(failed)}")
        finally:
            if self.proof.folder is not None:
                async with _step(report, clock, "evidence") as step:
                    step.detail = await self._hash(plans.sources)

    async def _verify(self, step: Step) -> None:
        found = await verify(self.reader.store, deep=True)
        step.detail = f"{found.segments} segments, {found.entries} entries, {found.parts} baseline objects"
        shown = self.shown
        shown.archive, shown.head, shown.segments, shown.entries = found.archive, found.head, found.segments, found.entries
        if found.strays:
            step.detail += f"; {found.strays[0]} stands among the segments and is none"
        if not found.ok:
            raise Corrupt(f"the archive is not whole: {found.verdict}", hint=f"see {page('runbooks/archive-corrupt.md')}")

    async def _hash(self, planned: Sequence[Restoration]) -> str:
        """Have the restored databases say what they hold."""
        tables = 0
        for place, each in zip(planned, self.shown.sources, strict=True):
            if isinstance(place, DatabaseRestoration) and place.target is not None and place.target.kind == "database":
                names = [(line.schema, line.name) for line in place.plan.tables]
                written.with_hashes(each, await hash_tables(place.target.value, names))
                tables += sum(bool(table.sha256) for table in each.tables)
        return f"{tables} tables hashed"


def _told(planned: Restoration, done: RestoredSource) -> SourceEvidence:
    """What a restore says of itself."""
    found = SourceEvidence(source=planned.source, target=done.target, entry=planned.entry, moment=to_text(planned.moment))
    if isinstance(planned, DatabaseRestoration):
        assert isinstance(done.report, RestoreReport)
        plan, version = planned.plan, planned.plan.schema.server_version
        found.lsn = plan.point.lsn
        found.captured_from = f"PostgreSQL {version // 10000}.{version % 10000}, system {plan.system_id}"
        found.tables = [TableEvidence(f"{each.schema}.{each.name}", each.rows) for each in done.report.tables]
        found.notes = done.report.notes
    elif isinstance(planned, ClusterRestoration):
        found.captured_from = planned.plan.cluster
        found.objects = dict(sorted(Counter(key[0] for key in restored_objects(planned)).items()))
        found.notes = planned.plan.notes
    return found


async def _left_behind(scratch: Scratch, *, used: bool) -> str:
    """Take away the folders that killed drills have left, and say which databases they could not drop.

    Those are not dropped here: a drill elsewhere may be about to connect.
    """
    gone = await asyncio.to_thread(remove_abandoned, Path(disk.temporary_folder()))
    gone += [str(scratch.folder)] if used else []
    found = await abandoned_databases(scratch.dsn, _DATABASES) if scratch.dsn else []
    said = f"; removed what killed drills left in {', '.join(gone)}" if gone else ""
    return said + (f"; drills that were killed left {', '.join(found)}: drop them when no drill runs" if found else "")


@asynccontextmanager
async def _step(report: DrillReport, clock: Clock, name: str) -> AsyncIterator[Step]:
    step = Step(name)
    report.steps.append(step)
    began = clock.monotonic()
    try:
        yield step
        step.ok = True
    except ArchiverError as error:
        step.detail, step.exit_code = error.message, error.exit_code
        raise
    finally:
        step.seconds = round(clock.monotonic() - began, 3)


@asynccontextmanager
async def _targets(
    reader: Reader,
    known: Mapping[str, str],
    wanted: Sequence[str],
    scratch: Scratch,
    clock: Clock,
    configured: Collection[CapturedDatabase],
) -> AsyncIterator[list[str]]:
    """One ``--to`` for each source; scratch databases live as long as the context."""
    kinds = {name: kind for name, kind in known.items() if not wanted or name in wanted}
    captured = [*await named_databases(reader), *configured] if scratch.dsn else []
    systems = {database.system_id for database in captured}
    targets = []
    async with AsyncExitStack() as stack:
        for name, kind in kinds.items():
            if kind == "postgres" and scratch.dsn:
                made = scratch_database(scratch.dsn, f"{_DATABASES}{clock.unique()[:12]}", never_on=systems)
                dsn = await stack.enter_async_context(made)
                targets.append(f"{name}={dsn}")
            elif kind == "kubernetes" and scratch.kubeconfig:
                targets.append(f"{name}=kubeconfig:{scratch.kubeconfig}")
            else:
                targets.append(f"{name}={scratch.folder / name}")
        yield targets
