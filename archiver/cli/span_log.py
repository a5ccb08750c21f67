"""``archiver log`` without a key: everything between two points, as a table, JSON lines, CSV or a Parquet file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import UNSET

from archiver.cli import output, streams
from archiver.clock import SystemClock
from archiver.history.span.bounds import Bounds
from archiver.history.span.changes import Change, Field
from archiver.history.span.selection import Selection
from archiver.history.span.span_log import SpanLog
from archiver.history.span.totals import Totals
from archiver.replay.points import parse_point, require_order, resolve
from archiver.replay.restoration import require_whole

if TYPE_CHECKING:
    from archiver.history.span.request_makers import RequestMakers
    from archiver.journal.reader import Reader

Form = Literal["table", "json", "csv", "parquet"]

_LOOK_SECONDS = 1.0
_SHORT = 200
"""Characters of a value that a table shows."""
SHOWN_CHANGES = 1000
"""Changes of a table; ``--json`` and ``--csv`` have all."""
_COLUMNS = [
    "entry", "at", "time", "source", "operation", "table", "kind", "namespace", "name", "key", "field", "old", "new", "old_known",
    "transaction", "lsn", "field_manager", "uid", "resource_version", "happened_from", "happened_until", "late", "detail", "user",
]  # fmt: skip


class AskedSpan(msgspec.Struct, frozen=True):
    """What the options say."""

    selection: Selection
    start: str
    end: str
    form: Form
    follow: bool
    allow_gaps: bool
    show_all: bool = False
    file: Path | None = None
    """Of the form ``parquet``, and of no other."""
    audit_logs: tuple[Path, ...] = ()
    """Of the API server of the one cluster that is asked about."""


async def print_span(reader: Reader, asked: AskedSpan) -> None:
    """Print the answer, and last what is not known of it. ``Refused`` for gaps that were not allowed; else as ``SpanLog``."""
    latest = asked.follow and asked.start == ""
    start = await resolve(reader, parse_point("latest" if latest else asked.start)) if asked.start or latest else None
    end = None if asked.follow else await resolve(reader, parse_point(asked.end))
    if start is not None and end is not None:
        require_order(start, end)
    log = SpanLog(reader, asked.selection, Bounds(start, end), await _makers(asked.audit_logs))
    clock = SystemClock()

    async def wait() -> None:
        streams.flush()
        await clock.sleep(_LOOK_SECONDS)

    bound = 0 if asked.form != "table" or asked.show_all or asked.follow else SHOWN_CHANGES
    totals = Totals()
    with _shower(asked) as shown:
        async with aclosing(log.changes(wait if asked.follow else None)) as changes:
            async for change in changes:
                if not bound or totals.all < bound:
                    shown(change)
                totals.add(change)
                if asked.file is None and not streams.is_read():
                    return
        for operation, texts in (("unknown", log.gaps), ("note", log.notes)):
            for text in texts:
                shown(Change(0, 0, 0, "", operation, detail=text))
    if bound and totals.all > bound:
        _print_totals(totals, bound)
    if not totals.all and asked.form == "table":
        output.say("the journal has no change of that sort in that time")
    if asked.file is not None:
        output.say(f"{totals.all} changes written to {asked.file}")
    require_whole(
        log.gaps, where="the asked time", allowed=asked.allow_gaps, hint="they are named above; --allow-gaps takes the answer as it is"
    )


async def _makers(audit_logs: Sequence[Path]) -> RequestMakers | None:
    """What the audit log says of who made what; ``None`` where none is given."""
    if not audit_logs:
        return None
    from archiver.history.span.request_makers import RequestMakers
    from archiver.kubernetes.audit_log import read_requests

    return RequestMakers(await asyncio.to_thread(read_requests, audit_logs))


def _print_totals(totals: Totals, bound: int) -> None:
    """How many changes there are of what, since not all of them are shown."""
    output.answer("")
    output.answer(f"{totals.all} changes, of which the first {bound} are shown:")
    output.table("", ["source", "of", "changes", "by operation"], totals.lines())
    output.say(f"{totals.all - bound} changes are not shown: choose a shorter time, --table, --kind or --operation, or say --show-all")


@contextmanager
def _shower(asked: AskedSpan) -> Iterator[Callable[[Change], None]]:
    """What is done with each change. A file is there when the block has ended, and only then."""
    if asked.file is not None:
        from archiver.history.span.parquet_file import parquet_file  # takes longer to load than a short answer

        with parquet_file(asked.file) as file:
            yield file.add
    elif asked.form == "json":
        yield output.print_json_line
    elif asked.form == "csv":
        output.csv_line(_COLUMNS)
        yield _print_csv
    else:
        width = output.terminal_width()
        yield lambda change: print_table(change, width)


def print_table(change: Change, width: int) -> None:
    """A line with when, what and of which, and below it what is said of that."""
    if not change.at:
        output.folded(f"{'GAP' if change.operation == 'unknown' else 'note'}: {change.detail}", width, 4)
        return
    of = " ".join(text for text in (change.source, change.what) if text)
    output.folded(f"{output.moment(change.time)}  {change.operation:<8}  {of}", width, 4)
    for field in change.fields:
        output.folded(f"    {_said(field)}", width, 8)
    if about := ", ".join(_about(change)):
        output.folded(f"    ({about})", width, 8)


def _said(field: Field) -> str:
    old = "(not known)" if field.old_known is False else _value(field.old)
    if field.new is UNSET:
        return f"{field.name} was {old}"
    if field.old is UNSET and field.old_known is not False:
        return f"{field.name} = {_value(field.new)}"
    return f"{field.name}: {old} -> {_value(field.new)}"


def _about(change: Change) -> Iterator[str]:
    if change.detail:
        yield change.detail
    if change.user:
        yield f"user, by the audit log: {change.user}"
    if change.field_manager:
        yield f"field manager, as claimed: {change.field_manager}"
    if change.late:
        yield "received late: something newer was known"
    if change.happened_from or change.happened_until:
        until = f"before {output.moment(change.happened_until)}" if change.happened_until else "later"
        yield f"happened at {output.moment(change.happened_from)} or {until}"
    if change.transaction:
        yield f"transaction {change.transaction}"
    yield f"at {change.at}"


def _value(value: Any) -> str:
    if value is UNSET:
        return "(none)"
    if value is None:
        return "NULL"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return (text if len(text) <= _SHORT else f"{text[:_SHORT]}…") or "''"


def _print_csv(change: Change) -> None:
    key = msgspec.json.encode(change.key).decode() if change.key else None
    moments = [output.moment(time) if time else None for time in (change.time, change.happened_from, change.happened_until)]
    fields = [_csv_field(field) for field in change.fields] or [[None] * 4]
    for field in fields:
        cells = [
            str(change.entry) if change.entry else None, str(change.at) if change.at else None, moments[0], change.source, change.operation,
            change.table, change.kind, change.namespace, change.name, key, *field,
            str(change.transaction) if change.transaction else None, change.lsn, change.field_manager, change.uid, change.resource_version,
            moments[1], moments[2], "yes" if change.late else None, change.detail, change.user,
        ]  # fmt: skip
        output.csv_line(cells)


def _csv_field(field: Field) -> list[str | None]:
    old, new = (None if value is UNSET or value is None else _text(value) for value in (field.old, field.new))
    return [field.name, old, new, "no" if field.old_known is False else "yes"]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
