"""``archiver sql``: a question in SQL about rows and objects as of a point."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from archiver.cli import output, streams
from archiver.cli.main import Context
from archiver.cli.points import at_point, say_meaning
from archiver.cli.subjects import with_reader
from archiver.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from archiver.journal.reader import Reader

_LISTS = re.compile(r"\s*SHOW\s+(ALL\s+)?TABLES\s*;?\s*", re.IGNORECASE)
_SHOWN = 1000
"""Rows of a table; ``--json`` and ``--csv`` have all."""


@click.command()
@click.argument("question", metavar="SELECT")
@at_point
@click.option("--source", "sources", multiple=True, metavar="NAME", help="Only tables and kinds of this source (repeatable).")
@click.option("--allow-gaps", is_flag=True, help="Answer although part of the history in use is not known.")
@click.option("--json", "as_json", is_flag=True, help="JSON for scripts: one document a line.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV with a line of titles.")
@click.pass_obj
def sql(context: Context, *, question: str, at: str, sources: tuple[str, ...], allow_gaps: bool, as_json: bool, as_csv: bool) -> None:
    """Ask about rows and objects as of a point, in the SQL of DuckDB.

    \b
    archiver sql "SHOW TABLES"                                tables and kinds
    archiver sql --at "1 hour ago" "SELECT state, count(*) FROM runs GROUP BY ALL"
    archiver sql "SELECT name, object->>'$.status.phase' FROM kube.agentruns"
    archiver sql "SELECT * FROM db.public.runs r LEFT JOIN kube.agentruns o
                  ON o.name = r.name WHERE o.name IS NULL"

    A table is called table, schema.table or source.schema.table; the objects of a kind, as kind or source.kind, have the columns
    namespace, name, uid, resource_version, received and object. A name with a hyphen stands in double quotes, as in SQL:
    "agents-db".public.runs. Only what the question names is read, into a temporary folder. Nothing
    is changed anywhere, and no file can be read by it. Exit code 3 when something of what it names is not known at that point.
    """
    if as_json and as_csv:
        raise Invalid("an answer has one form", hint="give --json or --csv")
    say_meaning(at)
    form = _json if as_json else _csv if as_csv else _table

    async def work(reader: Reader) -> None:
        from archiver.history.sql.as_of import all_tables, put_in
        from archiver.history.sql.engine import opened_engine
        from archiver.replay.points import parse_point, resolve
        from archiver.replay.restoration import require_whole

        point = await resolve(reader, parse_point(at))
        if _LISTS.fullmatch(question):
            form(["source", "schema", "name", "kind"], iter([each.shown for each in await all_tables(reader, point, sources)]))
            return
        with opened_engine() as engine:
            found = await put_in(engine, reader, point, engine.names(question), sources)
            for word, texts in (("gap", found.gaps), ("note", found.notes)):
                for text in texts:
                    output.say(f"{word}: {text}")
            hint = "they are named above; choose a point outside, or say --allow-gaps"
            require_whole(found.gaps, where="what the question names", allowed=allow_gaps, hint=hint)
            form(*engine.ask(question))

    with_reader(context.settings(), work)


def _json(titles: list[str], rows: Iterator[tuple[Any, ...]]) -> None:
    for row in _read(rows):
        output.print_json_line(dict(zip(titles, row, strict=True)))


def _csv(titles: list[str], rows: Iterator[tuple[Any, ...]]) -> None:
    output.csv_line(titles)
    for row in _read(rows):
        output.csv_line([None if value is None else str(value) for value in row])


def _table(titles: list[str], rows: Iterator[tuple[Any, ...]]) -> None:
    shown, more = list[list[str]](), False
    for row in rows:
        if more := len(shown) == _SHOWN:
            break
        shown.append(["NULL" if value is None else str(value) or "''" for value in row])
    output.table("", titles, shown)
    if more:
        output.answer(f"more than {_SHOWN} rows: --json and --csv have all")


def _read(rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Until nobody reads the answer any more."""
    for row in rows:
        if not streams.is_read():
            return
        yield row
