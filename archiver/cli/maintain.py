"""``archiver maintain``: keep the archive quick as it grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from archiver.cli import output
from archiver.cli.given import given_options
from archiver.cli.main import Context, wait_for
from archiver.cli.seconds import Seconds
from archiver.errors import Invalid
from archiver.maintenance.limits import MaintenanceLimits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from archiver.maintenance.folded import Folded


@click.command()
@click.option("--source", "sources", multiple=True, metavar="NAME", help="Only this source (repeatable).")
@click.option(
    "--behind",
    default=MaintenanceLimits().behind_seconds,
    show_default=True,
    metavar="SECONDS",
    type=Seconds(),
    help="How far before the journal's end to stay: a schema change is often recorded a little later than it was made.",
)
@click.option("--history", is_flag=True, help="Write history files, for `log` and for engines that read Delta tables, and no checkpoints.")
@click.option("--json", "as_json", is_flag=True, help="JSON for scripts.")
@click.pass_obj
def maintain(context: Context, *, sources: tuple[str, ...], behind: float, history: bool, as_json: bool) -> None:
    """Fold the journal of each source into newer checkpoints, so that restores need not read it from the first baseline on. Where the
    settings have `retention`, make a pass of it then, as `archiver retain` does; without it nothing is ever deleted.

    The sources are not asked, and the journal is only read. Safe beside `run`, beside restores and beside another `maintain`; it can be
    killed at any time. What is not known for certain somewhere is not folded there: the table says why.
    """
    from archiver.cli.maintenance_steps import carried_out
    from archiver.clock import SystemClock
    from archiver.maintenance.maintenance import maintain as work

    settings = context.settings()
    if history:
        if "behind" in given_options():
            raise Invalid("--behind is about checkpoints, and --history writes none", hint="leave one of them out")
        from archiver.cli.history_files import maintain_history

        maintain_history(settings, sources, as_json=as_json)
        return
    done = wait_for(
        lambda: carried_out(settings, sources, lambda reader: work(reader, SystemClock(), sources, behind_seconds=behind), _said)
    )
    from archiver.cli.retain import print_outcome, retain_archive

    # Only of all sources: the journal is theirs together.
    retained = retain_archive(settings) if settings.retention.restore_seconds and not sources else None
    if as_json:
        output.print_json(done if retained is None else [*done, {"retention": retained}])
        return
    columns = ["source", "checkpoint", "transactions", "written", "kept", "stopped because"]
    output.table("", columns, [_row(each, behind) for each in told(done)])
    if retained is not None:
        print_outcome(retained)


def told(done: Sequence[Folded]) -> list[Folded]:
    """The steps that say something: that nothing was left to do behind what was done is no line."""
    from archiver.maintenance.folded import NOTHING_NEW

    made = {each.source for each in done if each.key}
    return [each for each in done if each.key or each.source not in made or each.reason != NOTHING_NEW]


def _said(done: Folded) -> str:
    return f"folded up to entry {done.entry}" if done.key else ""


def _row(done: Folded, behind: float) -> tuple[str, ...]:
    from archiver.maintenance.folded import NOTHING_NEW

    sizes = (output.size(done.written), output.size(done.kept)) if done.key else ("-", "-")
    # What happened only just now is left for later, and must not look as if it were not there.
    until = f", up to {behind:g} s before the journal's end (--behind)" if done.reason == NOTHING_NEW and behind else ""
    return done.source, str(done.entry or "-"), str(done.transactions or "-"), *sizes, f"{done.reason}{until}" if done.reason else "-"
