"""``archiver mark``: a name for a point."""

from __future__ import annotations

import click

from archiver.cli import output
from archiver.cli.main import Context, wait_for


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="JSON for scripts; the time in microseconds since 1970.")
@click.pass_obj
def mark(context: Context, *, name: str, as_json: bool) -> None:
    """Name the journal's end, so that `--at mark:NAME` brings it back. Durable on return.

    The point holds what the archiver has received by then; a change that it has not received yet lies behind it. A name is given
    once. A running archiver is asked at web.listen, from the same machine; when none runs the mark is written directly.
    """
    from archiver.clock import SystemClock
    from archiver.service.marking import set_mark

    settings = context.settings()
    value = wait_for(lambda: set_mark(settings, SystemClock(), name))
    if as_json:
        output.print_json(value)
        return
    output.facts([("mark", value.name), ("entry", value.entry), ("time", output.moment(value.time))])
