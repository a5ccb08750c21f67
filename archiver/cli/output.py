"""Tables for people on standard output, ``--json`` for scripts; errors and progress on standard error.

Everything that is printed passes through here, and so through ``terminal``: ``tests/test_architecture.py`` finds what does not.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from archiver.terminal import colourless, visible, visible_json, visible_lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text


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
    """One JSON document on one line. Whoever prints other lines between them flushes."""
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


def is_whole(*, show_all: bool) -> bool:
    """Whether a long answer is shown whole: asked for, or read by a program, which would not see that something is missing."""
    return show_all or not terminal_width()


def document(text: str) -> None:
    """Lines of the answer, the last one with its end."""
    click.echo(visible_lines(text), nl=False)


def heading(name: str, rest: str = "") -> None:
    """An empty line, and one with a name in bold."""
    click.echo(f"\n{click.style(visible(name), bold=True)}{visible(rest)}", color=_colour())


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table of plain text: nothing in a cell is read as markup.

    No time, name or number is cut in two: only cells of several words are folded. Where the terminal has no room for that: row by row.
    """
    cells = _cells(rows)
    if _needed(columns, cells) <= _console().width:
        _print(_grid(title, columns, cells))
        return
    if title:
        answer(title)
    for name, *others in cells:
        heading(f"{columns[0]} {name.plain}".strip())
        _others(columns, others)


def records(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table; where the terminal is narrower, row by row: the first cell, and below it each of the others that says something."""
    from rich.measure import Measurement

    grid, shown = _grid("", columns, rows), _console()
    if Measurement.get(shown, shown.options.update(max_width=_WIDEST), grid).maximum <= shown.width:
        _print(grid)
        return
    for name, *others in _cells(rows):
        heading(name.plain)
        _others(columns, others)


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
    """Two columns: name and value. A word that has no room goes on to the terminal's next line, from where it can be copied as one."""
    from rich.text import Text

    found = [(_plain(name), _plain(value)) for name, value in pairs]
    shown = _console()
    indent = max((name.cell_len for name, _ in found), default=0) + _BETWEEN
    with shown.capture() as text:
        for name, value in found:
            lead = Text.assemble((name.plain, "bold"), " " * (indent - name.cell_len))
            for line in _folded(value.plain, max(_FOLDED, shown.width - indent)):
                shown.print(lead + Text(line), soft_wrap=True)
                lead = Text(" " * indent)
    _write(text.get())


_WIDEST = 4000
_BETWEEN = 2
"""Characters between two columns."""
_FOLDED = 24
"""A column of text is folded into so many characters at least."""
_SHORTEST = 8
"""Of a name that is cut."""


def _grid(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    from rich.table import Table

    cells = _cells(rows)
    grid = Table(title=_plain(title) if title else None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for at, column in enumerate(columns):
        grid.add_column(_plain(column) if column else "", overflow="fold", no_wrap=not _has_text(cells, at))
    for row in cells:
        grid.add_row(*row)
    return grid


def _folded(text: str, room: int) -> Iterator[str]:
    """Lines of no more than ``room``, but for words that are longer."""
    from rich.cells import cell_len

    line, *words = text.split(" ")
    for word in words:
        if cell_len(line) + 1 + cell_len(word) > room:
            yield line
            line = word
        else:
            line = f"{line} {word}"
    yield line


def _others(columns: Sequence[str], cells: Sequence[Text]) -> None:
    """Those that say something, below the first of their row."""
    facts((column, cell) for column, cell in zip(columns[1:], cells, strict=True) if cell.plain != "-")


def _needed(columns: Sequence[str], rows: Sequence[Sequence[Text]]) -> int:
    """Characters that a line must have, lest a table of ``rows`` cut words in two."""
    needed = _BETWEEN * (len(columns) - 1)
    for at, column in enumerate(columns):
        widest = max(row[at].cell_len for row in rows) if rows else 0
        needed += max(_plain(column).cell_len if column else 0, min(widest, _FOLDED) if _has_text(rows, at) else widest)
    return needed


def _has_text(rows: Sequence[Sequence[Text]], at: int) -> bool:
    """Whether a column is folded where room is short: some cell has several words."""
    return any(len(row[at].plain.split()) > 1 for row in rows)


def _cells(rows: Iterable[Sequence[object]]) -> list[list[Text]]:
    return [[_plain(cell) for cell in row] for row in rows]


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
    _write(text.get())


def _write(lines: str) -> None:
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in lines.splitlines()))


def _plain(cell: object) -> Text:
    from rich.text import Text

    return cell if isinstance(cell, Text) else Text("-" if cell is None or cell == "" else visible(str(cell)))
