"""``archiver undo``: what a restore wrote into the captured cluster goes back to its mark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from archiver.cli import output
from archiver.cli.loading import loading
from archiver.cli.main import Context, wait_for
from archiver.cli.restore import foresee, judge
from archiver.cli.restored import print_done
from archiver.errors import Invalid, Partial, Unavailable

if TYPE_CHECKING:
    from archiver.replay.restoration import Options
    from archiver.restore import Plans, RestoredSource
    from archiver.settings import Settings


@click.command()
@click.argument("mark", default="")
@click.option("--to", "target", required=True, metavar="kubeconfig:PATH[#CONTEXT]", help="The cluster that was restored into.")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@click.option("--changed", is_flag=True, help="Also objects that others changed since the restore: their changes are lost.")
@click.option("--allow-gaps", is_flag=True, help="Although part of the history at the mark is not known. The plan lists it.")
@click.option("--allow-controllers", is_flag=True, help="Objects with a status may be put back beside living controllers (leases).")
@click.option("--hold-lease", "leases", multiple=True, metavar="NAMESPACE/NAME", help="Pause the controllers that elect by it.")
@click.option("--no-undo", is_flag=True, help="Put no mark first: the undo itself cannot be undone then.")
@click.option("--show-all", is_flag=True, help="Every object of a plan, where a terminal is shown the first 100.")
@click.option("--json", "as_json", is_flag=True, help="JSON for scripts: the plan with --dry-run, else the report.")
@click.pass_obj
def undo(
    context: Context,
    *,
    mark: str,
    target: str,
    dry_run: bool,
    changed: bool,
    allow_gaps: bool,
    allow_controllers: bool,
    leases: tuple[str, ...],
    no_undo: bool,
    show_all: bool,
    as_json: bool,
) -> None:
    """Take the restore that MARK names back, or the newest one that is no undo: into the captured cluster, and only what it wrote.

    What it created is deleted, if it is what was created; what it replaced or deleted is put back as it was at the mark. Refused with exit
    code 3 when others changed any of it since, unless --changed is given, and for another cluster. Definitions and namespaces stay. An undo
    puts a mark too, so that it can be undone.
    """
    with loading():
        from archiver.replay.restoration import Options

    settings = context.settings()
    options = Options(
        into_source=True,
        allow_gaps=allow_gaps,
        allow_controllers=allow_controllers,
        leases=leases,
        ask_target=dry_run,
        mode="exact",
    )
    whole = output.is_whole(show_all=show_all)
    wait_for(
        lambda: _undo(settings, mark, target, options, changed=changed, dry_run=dry_run, undo=not no_undo, show_all=whole, as_json=as_json)
    )


async def _undo(
    settings: Settings,
    mark: str,
    to: str,
    options: Options,
    *,
    changed: bool,
    dry_run: bool,
    undo: bool,
    show_all: bool,
    as_json: bool,
) -> None:
    with loading():
        from archiver.cli.restore_plans import print_plans
        from archiver.clock import SystemClock
        from archiver.journal.reader import Reader
        from archiver.replay.kubernetes.undo import plan_undo
        from archiver.replay.kubernetes.undo_search import find_record
        from archiver.replay.points import Point
        from archiver.replay.targets import Target
        from archiver.restore import Plans, close_plans
        from archiver.service.undo_marks import UndoMarks
        from archiver.store.open import open_store

    if not to.startswith("kubeconfig:"):
        raise Invalid(f"--to {to} is no cluster", hint="a restore into a captured cluster is undone there: --to kubeconfig:PATH")
    clock = SystemClock()
    store = await open_store(settings.archive.url, settings.archive.s3)
    try:
        reader = Reader(store)
        record = await find_record(reader, mark)
        output.say(f"note: this takes back the restore with the mark {record.mark}")
        if undo:
            options = msgspec.structs.replace(
                options, before=UndoMarks(settings, reader, clock, "undo", output.say, undoes=record.mark).before
            )
        target = Target(record.plan.source, "cluster", to)
        planned = await plan_undo(reader, record, target, options, clock, changed=changed)
        options = planned.options
        plans = Plans(f"mark:{record.mark}", Point(f"mark:{record.mark}", "entry", record.entry), [planned], clock.now())
        try:
            if dry_run:
                output.print_json(plans.shown()) if as_json else print_plans(plans, show_all=show_all)
                foresee(plans, options)
                return
            done = await _carried_out(plans, options, record.mark)
        finally:
            await close_plans(plans)
    finally:
        await store.close()
    if as_json:
        output.print_json({"mark": record.mark, "sources": done})
    else:
        for each in done:
            print_done(each)
    judge(done, options, again=_again(record.mark))


async def _carried_out(plans: Plans, options: Options, mark: str) -> list[RestoredSource]:
    """As ``carry_out``; what stops it on the way says how to go on."""
    from archiver.cli.progress import steps
    from archiver.restore import carry_out

    try:
        return await carry_out(plans, options, steps)
    except (Partial, Unavailable) as error:
        raise type(error)(error.message, hint=f"mend that, then {_again(mark)}") from None


def _again(mark: str) -> str:
    return f"run `archiver undo {mark}` again"
