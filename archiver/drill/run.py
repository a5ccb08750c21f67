"""A restore for practice: proves that the archive can be restored, and how long that takes.

verify -> scratch places -> plan -> restore each source, with the comparison that every restore ends with -> clean up -> record.
What was proven is an object ``drills/{time}.json`` of the archive, which the running archiver shows as metrics.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import structlog

from archiver import disk
from archiver.clock import Clock
from archiver.errors import ArchiverError, Corrupt, Partial
from archiver.journal.drill_reports import DrillReport, Step, record
from archiver.journal.kept_segments import KeptSegments
from archiver.journal.reader import Reader
from archiver.journal.verifier import verify
from archiver.pages import page
from archiver.postgres.captured_systems import CapturedDatabase, named_databases
from archiver.replay.postgres.restore import abandoned_databases, scratch_database
from archiver.replay.restoration import Options, Progress
from archiver.restore import carry_out, close_plans, make_plans, source_kinds
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


async def run_drill(
    store: Store,
    clock: Clock,
    at: str,
    wanted: Sequence[str],
    scratch: Scratch,
    options: Options,
    progress: Callable[[str], AbstractContextManager[Progress]],
) -> DrillReport:
    """Restore ``wanted`` sources (all when empty) as they were at ``at``. Never raises for a failed step: the report says it.

    Raises as ``ScratchFolder.take`` for a scratch folder that is in use, ``Unavailable`` when a passed drill cannot be recorded.
    Cancelled or failed, it removes what it made; that it could not is a failed step too.
    """
    folder = ScratchFolder(scratch.folder)
    used = await asyncio.to_thread(folder.take)
    report = DrillReport(at, clock.now())
    places = AsyncExitStack()
    try:
        kept = places.enter_context(KeptSegments())
        await _prove(Reader(store, kept=kept), report, clock, wanted, scratch, options, progress, places, used=used)
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
    return report


async def _prove(
    reader: Reader,
    report: DrillReport,
    clock: Clock,
    wanted: Sequence[str],
    scratch: Scratch,
    options: Options,
    progress: Callable[[str], AbstractContextManager[Progress]],
    places: AsyncExitStack,
    *,
    used: bool,
) -> None:
    """The steps up to the proof. What ``places`` holds is in use until it is closed. ``used``: a killed drill had left the folder."""
    async with _step(report, clock, "verify") as step:
        found = await verify(reader.store, deep=True)
        step.detail = f"{found.segments} segments, {found.entries} entries, {found.parts} baseline objects"
        if found.strays:
            step.detail += f"; {found.strays[0]} stands among the segments and is none"
        if not found.ok:
            raise Corrupt(f"the archive is not whole: {found.verdict}", hint=f"see {page('runbooks/archive-corrupt.md')}")
    async with _step(report, clock, "scratch") as step:
        left = await _left_behind(scratch, used=used)
        targets = await places.enter_async_context(_targets(reader, wanted, scratch, clock, options.configured))
        step.detail = f"{len(targets)} places{left}"
    async with _step(report, clock, "plan") as step:
        plans = await make_plans(reader, at=report.at, targets=targets, wanted=wanted, options=options, clock=clock)
        places.push_async_callback(close_plans, plans)
        report.sources = [planned.source for planned in plans.sources]
        report.point = min((planned.moment for planned in plans.sources if planned.moment), default=0)
        report.doubts = [f"{planned.source}: {doubt}" for planned in plans.sources for doubt in planned.doubts]
        step.detail = f"{len(plans.sources)} sources"
    async with _step(report, clock, "restore") as step:
        done = await carry_out(plans, options, progress)
        step.detail = ", ".join(f"{each.source} -> {each.target}" for each in done)
        problems = [problem for each in done for problem in each.problems]
        if problems:
            raise Partial(
                f"{len(problems)} objects are not as captured, first {problems[0]}", hint=f"see {page('runbooks/failed-drill.md')}"
            )


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
    reader: Reader, wanted: Sequence[str], scratch: Scratch, clock: Clock, configured: Collection[CapturedDatabase]
) -> AsyncIterator[list[str]]:
    """One ``--to`` for each source; scratch databases live as long as the context."""
    kinds = {name: kind for name, kind in (await source_kinds(reader)).items() if not wanted or name in wanted}
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
