"""What is said of a point before anything is done with it."""

from __future__ import annotations

from archiver.cli import output


def say_meaning(text: str) -> None:
    """Say on standard error how a time without a zone is read. Raises ``Invalid`` for what is no point."""
    from archiver.replay.points import meaning, parse_point

    if said := meaning(parse_point(text)):
        output.say(f"note: {said}")
