"""What is said of a point before anything is done with it."""

from __future__ import annotations

import click

from archiver.cli import output

FORMS = "RFC 3339 time, `10 minutes ago`, `latest`, an entry number, an LSN, or mark:NAME."
"""What a point can be given as, for help."""

at_point = click.option("--at", "at", default="latest", show_default=True, metavar="POINT", help=FORMS)
"""The option of a question about one point."""


def say_meaning(text: str) -> None:
    """Say on standard error how a time without a zone is read. Raises ``Invalid`` for what is no point."""
    from archiver.replay.points import meaning, parse_point

    if said := meaning(parse_point(text)):
        output.say(f"note: {said}")
