"""``archiver detach``: take away what capture needed at a source."""

from __future__ import annotations

import click

from archiver.cli import output
from archiver.cli.main import Context, wait_for


@click.command()
@click.argument("source")
@click.option("--dry-run", is_flag=True, help="Print what would be taken away, as SQL, and stop.")
@click.option("--json", "as_json", is_flag=True, help="JSON for scripts.")
@click.pass_obj
def detach(context: Context, *, source: str, dry_run: bool, as_json: bool) -> None:
    """Take away everything that the archiver made at SOURCE: its slot, publications, event triggers, their function and its schema.

    The archive is only read, and stays restorable. Refused with exit code 3 while the source is captured, for a slot that the archive does
    not know as its own, and where the role may not drop something: then nothing is dropped. A dry run exits as the command would. What a
    user has put under our names stays, and is named. When `run` captures the source again, that is a gap and a new baseline.
    """
    from archiver.service.detaching import detach as work

    settings = context.settings()
    plan = wait_for(lambda: work(settings, source, dry_run=dry_run))
    if as_json:
        output.print_json({"source": plan.source, "dry_run": dry_run, "sql": plan.sql, "kept": plan.kept})
        return
    for line in plan.sql:
        output.answer(f"{line};")
    if not plan.sql:
        output.answer("nothing of the archiver's is there")
    elif not dry_run:
        output.say(f"{source}: done")
    for text in plan.kept:
        output.say(f"kept: {text}")
