"""Tables for people on standard output, ``--json`` for scripts; errors and progress on standard error.

Everything that is printed passes through here, and so through ``terminal``: ``tests/test_architecture.py`` finds what does not.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from archiver.terminal import colourless, visible, visible_json, visible_lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_json(value: Any) -> None:
    """One JSON document, indented, ending in a newline. An object that nests very deeply is not indented."""
    text = msgspec.json.encode(value)
    with contextlib.suppress(RecursionError):
        text = msgspec.json.format(text, indent=2)
    # JSON is UTF-8, whatever the terminal's encoding.
    sys.stdout.flush()
    sys.stdout.buffer.write(visible_json(text.decode()).encode() + b"\n")
    sys.stdout.flush()


def print_json_line(value: Any) -> None:
    """One JSON document on one line."""
    sys.stdout.flush()
    sys.stdout.buffer.write(visible_json(msgspec.json.encode(value).decode()).encode() + b"\n")


def say(text: str, *, style: str | None = None) -> None:
    """One line for people on standard error."""
    click.secho(visible(text), fg=style, err=True, color=_colour())


def trace(lines: str) -> None:
    """Lines on standard error."""
    click.echo(visible_lines(lines), err=True, nl=False)


def answer(text: str) -> None:
    """One line of the answer."""
    click.echo(visible(text))


def folded(text: str, width: int, indent: int) -> None:
    """One line of the answer; with a ``width``, folded to it behind an indent."""
    from rich.cells import chop_cells

    line = visible(text)
    if not width or len(line) * 2 <= width:
        click.echo(line)
        return
    rest = line
    lead = ""
    while rest:
        first, *_ = chop_cells(rest, width - len(lead))
        click.echo(f"{lead}{first}")
        rest, lead = rest[len(first) :], " " * indent


def csv_line(cells: Iterable[str | None]) -> None:
    """One line of CSV as PostgreSQL reads it: text in quotes, nothing for NULL. A cell that a spreadsheet would take for a formula begins
    with an apostrophe.
    """
    click.echo(",".join("" if cell is None else _csv_cell(visible(cell)) for cell in cells))


def _csv_cell(text: str) -> str:
    text = f"'{text}" if _FORMULA.match(text) else text
    return '"' + text.replace('"', '""') + '"'


_FORMULA = re.compile(r"[=+@]|-(?![0-9.]+$)")


def terminal_width() -> int:
    """Columns of the terminal; 0: it is none, so that scripts never see a folded line."""
    return max(40, shutil.get_terminal_size().columns) if sys.stdout.isatty() else 0


def document(text: str) -> None:
    """Lines of the answer, the last one with its end."""
    click.echo(visible_lines(text), nl=False)


def heading(name: str, rest: str = "") -> None:
    """An empty line, and one with a name in bold."""
    click.echo(f"\n{click.style(visible(name), bold=True)}{visible(rest)}", color=_colour())


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table of plain text: nothing in a cell is read as markup."""
    _print(_grid(title, columns, rows))


def records(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table; where the terminal is narrower, row by row: the first cell, and below it each of the others that says something."""
    from rich.measure import Measurement

    grid, shown = _grid("", columns, rows), _console()
    if Measurement.get(shown, shown.options.update(max_width=_WIDEST), grid).maximum <= shown.width:
        _print(grid)
        return
    for name, *cells in rows:
        heading(str(name))
        facts((column, cell) for column, cell in zip(columns[1:], cells, strict=True) if cell not in (None, "", "-"))


def one_line_each(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table in which no cell is folded: where the terminal is too narrow, the first column is cut."""
    from rich.measure import Measurement

    grid = _grid("", columns, rows)
    shown = _console()
    over = Measurement.get(shown, shown.options.update(max_width=_WIDEST), grid).maximum - shown.width
    if over > 0:
        room = max(_SHORTEST, max(len(visible(str(name))) for name, *_ in rows) - over)
        grid = _grid("", columns, [[_cut(visible(str(name)), room), *cells] for name, *cells in rows])
    for column in grid.columns:
        column.no_wrap = True
    _print(grid)


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 1]}…"


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Two columns: name and value."""
    from rich.table import Table

    grid = Table(box=None, show_header=False, pad_edge=False)
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(_plain(name), _plain(value))
    _print(grid)


_WIDEST = 4000
_SHORTEST = 8
"""Of a name that is cut."""


def _grid(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    from rich.table import Table

    grid = Table(title=_plain(title) if title else None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(_plain(column) if column else "", overflow="fold")
    for row in rows:
        grid.add_row(*(_plain(cell) for cell in row))
    return grid


def _console() -> Console:
    """Standard output; where it is no terminal as wide as needed, so that scripts never see a folded line."""
    return _made(width=None if sys.stdout.isatty() else _WIDEST, soft_wrap=False)


def errors() -> Console:
    """Standard error."""
    return _made(stderr=True)


def _made(**options: Any) -> Console:
    from rich.console import Console

    return Console(highlight=False, color_system=None if colourless(os.environ) else "auto", **options)


def _colour() -> bool | None:
    """For click; ``None``: as the stream is."""
    return False if colourless(os.environ) else None


def size(number: float) -> str:
    """Bytes with a binary unit."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(number) < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def age(seconds: float | None) -> str:
    """A length of time in one unit, or ``-``."""
    if seconds is None:
        return "-"
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    for unit, length, most in (("min", 60, 120), ("h", 3600, 72)):
        if seconds < most * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def moment(microseconds: int) -> str:
    """A time for people, or ``-``."""
    from archiver import clock

    return clock.to_text(microseconds)


def _print(grid: Table) -> None:
    shown = _console()
    with shown.capture() as text:
        shown.print(grid)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in text.get().splitlines()))


def _plain(cell: object) -> Any:
    from rich.text import Text

    return Text("-" if cell is None or cell == "" else visible(str(cell)))
