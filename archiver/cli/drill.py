"""``archiver drill``: restore for practice, and say how long it took."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from archiver.cli import output
from archiver.cli.given import given_options
from archiver.cli.loading import loading
from archiver.cli.main import Context, wait_for
from archiver.cli.points import say_meaning
from archiver.errors import Corrupt, Invalid, Partial, Refused, Unavailable, Unmet
from archiver.pages import page

if TYPE_CHECKING:
    from archiver.journal.drill_reports import DrillReport
    from archiver.replay.fitting import Place
    from archiver.replay.restoration import Options
    from archiver.settings import Settings


@click.command()
@click.option("--at", "at", default="latest", show_default=True, metavar="POINT", help="The point to restore, as for `restore`.")
@click.option("--source", "sources", multiple=True, metavar="NAME", help="Only this source (repeatable).")
@click.option(
    "--scratch-dsn",
    default="",
    envvar="DRILL_DSN",
    metavar="DSN",
    help="Server for a scratch database, dropped afterwards. [env: DRILL_DSN]",
)
@click.option("--scratch-kubeconfig", default="", metavar="PATH[#CONTEXT]", help="A scratch API server; what is created there stays.")
@click.option(
    "--scratch-folder",
    type=click.Path(path_type=Path),
    help="Folder for what has no scratch server, removed afterwards; default: a temporary one.",
)
@click.option("--no-owner", is_flag=True, help="The scratch server has not the roles of the source.")
@click.option("--allow-gaps", is_flag=True, help="As for `restore`.")
@click.option("--pg-bin", default="", metavar="FOLDER", help="As for `restore`.")
@click.option(
    "--evidence",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Write there what was restored and proven, or not: drill-TIME.json and .md.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON for scripts.")
@click.pass_obj
def drill(
    context: Context,
    *,
    at: str,
    sources: tuple[str, ...],
    scratch_dsn: str,
    scratch_kubeconfig: str,
    scratch_folder: Path | None,
    no_owner: bool,
    allow_gaps: bool,
    pg_bin: str,
    evidence: Path | None,
    as_json: bool,
) -> None:
    """Verify the archive, restore it into scratch places, compare, time each step, clean up.

    What `drills.assertions` of the settings say of a source is asked of what was restored. The restore's time is the measured RTO. A
    passed drill is recorded in the archive and shown by /metrics. A failed one ends with the exit code of what failed it: 7 when the
    archive is not whole, 3 for what a restore refuses, 8 when the scratch places did not take everything, 9 when an assertion does not
    hold, 2 or 4 for a scratch place or an assertion of no use. 7, 8 and 9 are recorded and shown too.
    """
    with loading():
        from archiver.replay.restoration import Options

    say_meaning(at)
    settings = context.settings()
    given = given_options().values()
    said = {option: place for option, place in _ABOUT.items() if option in given}
    options = Options(no_owner=no_owner, allow_gaps=allow_gaps, pg_bin=pg_bin, anew=True, said=said)
    report = wait_for(lambda: _drill(settings, at, sources, scratch_folder, scratch_dsn, scratch_kubeconfig, options, evidence))
    if as_json:
        output.print_json(report)
    else:
        output.table(
            "",
            ["step", "seconds", "", "detail"],
            [(step.name, f"{step.seconds:.2f}", "ok" if step.ok else "FAILED", step.detail) for step in report.steps],
        )
        if report.assertions:
            output.table(
                "",
                ["assertion", "source", "", "expected", "found"],
                [(each.name, each.source, "holds" if each.holds else "FAILED", each.expected, each.found) for each in report.assertions],
            )
        output.facts(
            [
                ("result", "passed" if report.passed else "FAILED"),
                ("proven up to", output.moment(report.point)),
                ("restore time", f"{report.restore_seconds:.2f} s"),
                *(("not certain", text) for text in report.doubts),
            ]
        )
    if not report.passed:
        failed = next(step for step in report.steps if not step.ok)
        kind = next((kind for kind in (Corrupt, Invalid, Partial, Unavailable, Unmet) if kind.exit_code == failed.exit_code), Refused)
        raise kind(f"the drill failed at {failed.name}: {failed.detail}", hint=f"see {page('runbooks/failed-drill.md')}")


_ABOUT: dict[str, Place] = {
    "--scratch-dsn": "database",
    "--scratch-kubeconfig": "cluster",
    "--no-owner": "database",
    "--pg-bin": "database into a folder",
}
"""What each option is about that is not about every drill."""


async def _drill(
    settings: Settings,
    at: str,
    sources: tuple[str, ...],
    folder: Path | None,
    dsn: str,
    kubeconfig: str,
    options: Options,
    evidence: Path | None,
) -> DrillReport:
    import asyncio
    import signal
    import tempfile

    with loading():
        from archiver import disk
        from archiver.cli.progress import steps
        from archiver.clock import SystemClock
        from archiver.drill import Proof, Scratch, run_drill
        from archiver.scratch_folder import PREFIX
        from archiver.service.sources import configured_databases
        from archiver.store.open import open_store

    # A Job that is over its deadline gets SIGTERM: its scratch places are removed then too.
    drilling = asyncio.current_task()
    assert drilling is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, drilling.cancel)
    store = await open_store(settings.archive.url, settings.archive.s3)
    try:
        if dsn:
            options = msgspec.structs.replace(options, configured=await configured_databases(settings))
        with disk.errors("make a scratch folder"):
            place = folder or Path(tempfile.mkdtemp(prefix=PREFIX))
        scratch = Scratch(place, dsn, kubeconfig)
        proof = Proof(settings.drills, evidence)
        return await run_drill(store, SystemClock(), at, sources, scratch, options, steps, proof)
    except asyncio.CancelledError:
        raise click.Abort from None
    finally:
        await store.close()
