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
    from collections.abc import Collection, Sequence

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
@click.option("--prove", is_flag=True, help="Make nothing: compute the newest checkpoints a second way, from history files, and compare.")
@click.option(
    "--engine",
    default="duckdb",
    show_default=True,
    type=click.Choice(["duckdb", "spark"]),
    help="Who computes with --prove: DuckDB here, or Spark on a cluster that reads the archive itself.",
)
@click.option("--master", default="", metavar="URL", help="With --engine spark: its master, such as local[4], spark://… or sc://….")
@click.option(
    "--one-in",
    default=1,
    show_default=True,
    metavar="N",
    type=click.IntRange(1, 1_000_000),
    help="With --prove: look at one key of N, other ones each day.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON for scripts.")
@click.pass_obj
def maintain(
    context: Context,
    *,
    sources: tuple[str, ...],
    behind: float,
    history: bool,
    prove: bool,
    engine: str,
    master: str,
    one_in: int,
    as_json: bool,
) -> int:
    """Fold the journal of each source into newer checkpoints, so that restores need not read it from the first baseline on. Where the
    settings have `maintenance.compaction`, copy small segments into packs then. Where they have `retention`, make a pass of it at the end,
    as `archiver retain` does; without it nothing is ever deleted.

    With --prove the checkpoints that are there are computed a second way; exit code 7 when one differs.

    The sources are not asked, and the journal is only read. Safe beside `run`, beside restores and beside another `maintain`; it can be
    killed at any time. What is not known for certain somewhere is not folded there: the table says why.
    """
    from archiver.cli.maintenance_steps import carried_out
    from archiver.clock import SystemClock
    from archiver.maintenance.maintenance import maintain as work

    settings = context.settings()
    _require_use(given_options().keys(), history=history, prove=prove, engine=engine)
    if history:
        from archiver.cli.history_files import maintain_history

        maintain_history(settings, sources, as_json=as_json)
        return 0
    if prove:
        from archiver.cli.proofs import prove_checkpoints

        return prove_checkpoints(settings, sources, master=master if engine == "spark" else None, one_in=one_in, as_json=as_json)
    done = wait_for(
        lambda: carried_out(settings, sources, lambda reader: work(reader, SystemClock(), sources, behind_seconds=behind), _said)
    )
    from archiver.cli.packing import pack_archive, print_packed
    from archiver.cli.retain import print_outcome, retain_archive

    # Only of all sources: the journal is theirs together.
    packed = pack_archive(settings) if settings.maintenance.compaction and not sources else None
    retained = retain_archive(settings) if settings.retention.restore_seconds and not sources else None
    if as_json:
        others = ({"packs": packed} if packed is not None else None, {"retention": retained} if retained is not None else None)
        output.print_json([*done, *filter(None, others)])
        return 0
    columns = ["source", "checkpoint", "transactions", "written", "kept", "stopped because"]
    output.table("", columns, [_row(each, behind) for each in told(done)])
    if packed is not None:
        print_packed(packed)
    if retained is not None:
        print_outcome(retained)
    return 0


def _require_use(given: Collection[str], *, history: bool, prove: bool, engine: str) -> None:
    """``Invalid`` for options that say nothing together."""
    both = "leave one of them out"
    if history and prove:
        raise Invalid("--history writes files, and --prove only reads them", hint=both)
    if "behind" in given and (history or prove):
        raise Invalid(f"--behind is about checkpoints that are made, and {'--history' if history else '--prove'} makes none", hint=both)
    if not prove and (alone := sorted({"engine", "master", "one_in"}.intersection(given))):
        raise Invalid(f"--{alone[0].replace('_', '-')} is of use with --prove only", hint="say --prove, or leave it out")
    if "master" in given and engine != "spark":
        raise Invalid("--master is Spark's", hint="say --engine spark, or leave it out")


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
