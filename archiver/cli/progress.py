"""Progress on standard error, where that is a terminal; silence elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from archiver.cli import output
from archiver.terminal import visible


@contextmanager
def counting(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for ``progress(done, total)``; a total of 0 shows only what is done."""
    with steps(title) as progress:
        yield lambda done, total: progress("", done, total)


@contextmanager
def steps(title: str) -> Iterator[Callable[[str, int, int], None]]:
    """As ``counting`` for ``progress(step, done, total)``: the step's name stands before the bar."""
    if not sys.stderr.isatty():
        yield lambda _step, _done, _total: None
        return
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f}"), TimeElapsedColumn())
    with Progress(*columns, console=output.errors(), transient=True) as bar:
        task = bar.add_task(title, total=None)

        def show(step: str, done: int, total: int) -> None:
            bar.update(task, description=escape(visible(f"{title}: {step}" if step else title)), completed=done, total=total or None)

        yield show
