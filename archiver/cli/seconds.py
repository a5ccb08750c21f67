"""Seconds as an argument of a command."""

from __future__ import annotations

import math
from typing import Any

import click

from archiver.bounds import MOST


class Seconds(click.FloatRange):
    """A number of seconds that the clock can count; ``nan`` and ``inf`` are none."""

    def __init__(self) -> None:
        super().__init__(min=0, max=MOST)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Fails as click has it."""
        found: float = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return found
