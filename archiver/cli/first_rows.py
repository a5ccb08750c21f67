"""The first rows of a table that may have thousands."""

from __future__ import annotations

from collections.abc import Sequence

from archiver.cli import output

SHOWN = 100
"""Rows; ``--json`` has all."""


def print_first(columns: Sequence[str], rows: Sequence[Sequence[object]], what: str, *, show_all: bool) -> None:
    """A table of ``rows``, which are so many ``what``; of more than ``SHOWN`` the first, unless ``show_all``, and how many there are."""
    output.table("", columns, rows if show_all else rows[:SHOWN])
    if len(rows) > SHOWN and not show_all:
        output.answer(f"the first {SHOWN} of {len(rows)} {what}: --show-all and --json have all")
