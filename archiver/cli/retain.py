"""``archiver retain``: delete what no promised point needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from archiver.cli import output
from archiver.cli.main import Context, wait_for

if TYPE_CHECKING:
    from archiver.retention.retention import Outcome
    from archiver.settings import Settings


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would go and what window would be left; write and delete nothing.")
@click.option(
    "--restore-seconds",
    default=None,
    type=click.FloatRange(min=3600),
    metavar="SECONDS",
    help="With --dry-run: as if retention.restore_seconds were this.",
)
@click.option(
    "--most-share",
    default=None,
    type=click.FloatRange(min=0, max=1, min_open=True),
    metavar="SHARE",
    help="Let this pass delete up to this share of all segments, instead of retention.most_share.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON for scripts; times in microseconds since 1970.")
@click.pass_obj
def retain(context: Context, *, dry_run: bool, restore_seconds: float | None, most_share: float | None, as_json: bool) -> None:
    """Delete the journal, checkpoints and baseline objects that no point of the promised window needs.

    Twice: the first pass writes a plan of what goes; a pass that is made retention.grace_seconds later judges it anew and carries it out.
    Refuses, and deletes nothing, when it meets anything that it does not understand. Safe beside `run`, restores and another pass; it can
    be killed at any time. What is deleted is gone: look at --dry-run first.
    """
    import msgspec

    if restore_seconds is not None and not dry_run:
        raise click.UsageError("--restore-seconds goes with --dry-run only: what is promised stands in the settings")
    settings = context.settings()
    if restore_seconds is not None:
        settings = msgspec.structs.replace(settings, retention=msgspec.structs.replace(settings.retention, restore_seconds=restore_seconds))
    done = retain_archive(settings, dry_run=dry_run, most_share=most_share)
    if as_json:
        output.print_json(done)
        return
    print_outcome(done)


def retain_archive(settings: Settings, *, dry_run: bool = False, most_share: float | None = None) -> Outcome:
    """One pass over the archive of the settings. Raises as ``retention.retain``."""
    import asyncio

    from archiver.clock import SystemClock
    from archiver.retention.retention import retain as work
    from archiver.store.open import open_store

    async def passed() -> Outcome:
        store = await open_store(settings.archive.url, settings.archive.s3)
        try:
            limits = settings.retention
            return await work(store, SystemClock(), limits, offload=asyncio.to_thread, dry_run=dry_run, most_share=most_share)
        finally:
            await store.close()

    return wait_for(passed)


def print_outcome(done: Outcome) -> None:
    """For people."""
    goes = done.state in ("would plan", "planned", "waiting", "retired")
    output.facts(
        [
            ("retention", _STATES[done.state]),
            *([("holds", ", ".join(done.holds))] if done.holds else []),
            *([("carried out", f"by a pass at or after {output.moment(done.due)}")] if done.due else []),
            *(
                [("segments", f"{done.segments} ({done.share:.1%} of all), before segment {done.first}; {done.kept} before it stay")]
                if goes
                else []
            ),
            *([("checkpoints", done.checkpoints), ("objects of rows", done.parts), ("bytes", output.size(done.bytes))] if goes else []),
            *([("deleted now", f"{done.deleted} objects")] if done.deleted else []),
            *([("no more because", done.reason)] if done.reason else []),
        ]
    )
    if done.floors:
        output.table(
            "the window that is left",
            ["source", "from", "from entry"],
            [(name, output.moment(floor.time), str(floor.entry)) for name, floor in sorted(done.floors.items())],
        )


_STATES = {
    "off": "off: nothing is ever deleted",
    "held": "held: nothing is deleted",
    "nothing": "nothing can go",
    "would plan": "this would be planned",
    "planned": "planned",
    "waiting": "planned earlier, and waiting",
    "retired": "retired",
}
