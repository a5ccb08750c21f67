"""``archiver log``: what changed, and when."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from archiver.cli import output
from archiver.cli.given import given_options
from archiver.cli.loading import loading
from archiver.cli.main import Context
from archiver.cli.points import say_meaning
from archiver.cli.subjects import named_subject, object_then, one_point, two_points, with_reader, with_source
from archiver.errors import Invalid
from archiver.history.span.changes import OPERATIONS

if TYPE_CHECKING:
    from archiver.cli.span_log import Form
    from archiver.history.object_at import ObjectAt
    from archiver.history.objects import ObjectChange
    from archiver.history.rows import RowChange
    from archiver.journal.reader import Reader
    from archiver.replay.points import Point


@click.command()
@click.option("--source", "sources", multiple=True, metavar="NAME", help="Source, as in the settings (repeatable); default: all.")
@click.option("--from", "start", default="", metavar="POINT", help="Only after this point; default: all that is known.")
@click.option("--until", "end", default="latest", show_default=True, metavar="POINT", help="Only up to this point.")
@click.option("--key", multiple=True, metavar="COLUMN=VALUE", help="The history of one row of --table; repeat for each column of its key.")
@click.option(
    "--object",
    "object_",
    default="",
    metavar="KIND/NAMESPACE/NAME",
    help="The history of one object: plural.group/namespace/name; plural.group/name where it has no namespace.",
)
@click.option("--table", "tables", multiple=True, metavar="SCHEMA.TABLE", help="Only rows of this table (repeatable).")
@click.option("--transaction", "transactions", multiple=True, type=int, metavar="XID", help="Only this transaction (repeatable).")
@click.option("--kind", "kinds", multiple=True, metavar="PLURAL[.GROUP]", help="Only objects of this kind (repeatable).")
@click.option("--namespace", "namespaces", multiple=True, metavar="NAME", help="Only objects in this namespace (repeatable).")
@click.option("--manager", "managers", multiple=True, metavar="NAME", help="Only changes by this field manager, as it called itself.")
@click.option("--operation", "operations", multiple=True, metavar="WORD", help=f"Only these (repeatable): {', '.join(OPERATIONS)}.")
@click.option(
    "--like",
    "keys",
    multiple=True,
    metavar="PATTERN",
    help="Only rows whose key, or objects whose namespace and name, are like it: 'id=4*', 'agents/run-?'.",
)
@click.option(
    "--audit-log",
    "audit_logs",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The API server's audit log (repeatable): say which user made a change of an object, where that is certain.",
)
@click.option("--follow", is_flag=True, help="Go on as the journal grows, until interrupted; from its end unless --from is given.")
@click.option("--allow-gaps", is_flag=True, help="Exit code 0 although something of that time is not known.")
@click.option("--show-all", is_flag=True, help="Every change, where a terminal is shown the first 1000.")
@click.option("--json", "as_json", is_flag=True, help="JSON for scripts; without a key one document a line.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV, a line for each changed field.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv", "parquet"]),
    help="The answer's form; json and csv as --json and --csv, parquet with --output.",
)
@click.option(
    "--output",
    "-o",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="With --format parquet: the file to write.",
)
@click.pass_obj
def log(
    context: Context,
    *,
    sources: tuple[str, ...],
    start: str,
    end: str,
    key: tuple[str, ...],
    object_: str,
    tables: tuple[str, ...],
    transactions: tuple[int, ...],
    kinds: tuple[str, ...],
    namespaces: tuple[str, ...],
    managers: tuple[str, ...],
    operations: tuple[str, ...],
    keys: tuple[str, ...],
    audit_logs: tuple[Path, ...],
    follow: bool,
    allow_gaps: bool,
    show_all: bool,
    as_json: bool,
    as_csv: bool,
    form: Form | None,
    file: Path | None,
) -> None:
    """List what changed: when, in which transaction or by whom, and from what to what.

    \b
    archiver log --from "10 minutes ago"                      everything
    archiver log --source db --table public.runs --key id=5   one row
    archiver log --source kube --object runs.example.com/agents/run-1
    archiver log --format parquet -o changes.parquet          for data tools

    Everything stands in the journal's order: a transaction where its commit was received. Exit code 3 when something of the asked time is
    not known: it is named, at its place and at the end. What a field was before is said where it is known. A terminal is shown the
    first 1000 changes, and how many there are of what; --show-all, --json, --csv and pipes have all.

    With --key or --object the answer is a table of that row's or object's changes: a gap is a line of it, and the exit code stays 0. Only
    --source, --table, --from, --until and --json go with them.
    """
    if key or object_:
        _refuse_beside_a_subject()
        _one_subject(context, (sources, tables, key, object_), start, end, as_json=as_json)
        return
    said = {form, "json" if as_json else None, "csv" if as_csv else None} - {None}
    if len(said) > 1:
        raise Invalid("an answer has one form", hint="give one of --json, --csv and --format")
    chosen: Form = form or ("json" if as_json else "csv" if as_csv else "table")
    if (chosen == "parquet") != (file is not None):
        raise Invalid(
            "--format parquet writes a file" if file is None else "--output is of --format parquet",
            hint="give both; the other forms go to standard output",
        )
    if follow and file is not None:
        raise Invalid("--follow goes on for ever, and a Parquet file has an end", hint="leave --follow out, or say --format json")
    if follow and audit_logs:
        raise Invalid("--audit-log is read once, and --follow goes on", hint="leave one of them out")
    if follow and end != "latest":
        raise Invalid("--follow goes on for ever, and --until ends", hint="leave one of them out")
    from archiver.cli.span_log import AskedSpan, print_span
    from archiver.history.span.selection import Selection

    selection = Selection(
        sources=frozenset(sources),
        tables=frozenset(map(_table_name, tables)),
        transactions=frozenset(transactions),
        kinds=frozenset(kinds),
        namespaces=frozenset(namespaces),
        managers=frozenset(managers),
        operations=frozenset(operations),
        keys=frozenset(keys),
    )
    whole = output.is_whole(show_all=show_all)
    asked = AskedSpan(selection, start, end, chosen, follow, allow_gaps, show_all=whole, file=file, audit_logs=audit_logs)
    for text in (start, end):
        if text:
            say_meaning(text)
    settings = context.settings()
    if file is not None:
        from archiver.restore import require_apart

        require_apart(file, settings.archive.url, "the file")
    with_reader(settings, lambda reader: print_span(reader, asked))


def _table_name(text: str) -> str:
    from archiver.history.rows import RowRef

    ref = RowRef.parse(text, ["any=row"])
    return f"{ref.schema}.{ref.table}"


_OF_A_SUBJECT = {"sources", "start", "end", "key", "object_", "tables", "as_json"}


def _refuse_beside_a_subject() -> None:
    """``Invalid`` when an option was given that an answer about one row or object does not look at."""
    others = [option for name, option in given_options().items() if name not in _OF_A_SUBJECT]
    if others:
        raise Invalid(
            f"{', '.join(others)}: not with --key or --object", hint="leave it out, or leave out --key and --object and say --like"
        )


def _one_subject(
    context: Context,
    said: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], str],
    start: str,
    end: str,
    *,
    as_json: bool,
) -> None:
    """The history of one row or object."""
    sources, tables, key, object_ = said
    if len(sources) > 1 or len(tables) > 1:
        raise Invalid("one row or object is of one source, and of one table", hint="give --source once, and --table for a row")
    wanted = named_subject(sources[0] if sources else "", tables[0] if tables else "", key, object_)
    settings = context.settings()

    async def work(reader: Reader) -> None:
        asked = await with_source(reader, wanted)
        # Each takes longer to load than a key to find.
        since, until = await two_points(reader, start, end) if start else (None, await one_point(reader, end))
        if asked.table:
            with loading():
                from archiver.history.rows import RowRef, row_log

            row = RowRef.parse(asked.table, asked.key)
            changes = await row_log(reader, asked.source, row, from_point=since, to_point=until)
            _print_rows(changes, as_json=as_json)
            return
        from archiver.history.objects import ObjectRef, object_log

        history = await object_log(reader, asked.source, ObjectRef.parse(asked.object))
        found = [change for change in history if _before(change, until) and not (since is not None and _before(change, since))]
        _print_objects([*found, *_doubts(await object_then(reader, asked, until))], as_json=as_json)

    with_reader(settings, work)


def _doubts(known: ObjectAt) -> list[ObjectChange]:
    """What is not known of a history's end, as its last lines."""
    from archiver.history.objects import ObjectChange

    texts = (("UNKNOWN", known.gaps), ("NOTE", known.notes))
    return [ObjectChange(0, 0, event, detail=text) for event, found in texts for text in found]


def _before(change: ObjectChange, point: Point) -> bool:
    from archiver.replay.kubernetes.folded_stream import Cut

    cut = Cut.at(point)
    return change.time <= cut.time if cut.time else change.entry <= cut.seq


def _print_objects(found: list[ObjectChange], *, as_json: bool) -> None:
    if as_json:
        output.print_json(found)
        return
    if not found:
        _say_nothing_known()
        return
    output.table(
        "",
        ["entry", "received", "happened", "event", "resourceVersion", "field manager", "changed"],
        [
            (
                each.entry or "",
                output.moment(each.observed),
                _happened(each),
                each.event,
                each.resource_version,
                each.manager or "-",
                ", ".join(each.changed) or each.detail,
            )
            for each in found
        ],
    )


def _happened(change: ObjectChange) -> str:
    """When it did by what the object says itself, where it was received much later."""
    if not change.since:
        return ""
    return output.moment(change.since) if change.until else f"{output.moment(change.since)} or later"


def _print_rows(changes: list[RowChange], *, as_json: bool) -> None:
    if as_json:
        output.print_json(changes)
        return
    if not changes:
        _say_nothing_known()
        return
    output.table(
        "",
        ["entry", "committed", "transaction", "LSN", "what", "changed"],
        [
            (each.entry, output.moment(each.time), each.xid or "", each.lsn, each.event, ", ".join(each.changed) or each.detail)
            for each in changes
        ],
    )


def _say_nothing_known() -> None:
    output.say("the journal has no change of it in that time")
