"""What ``archiver restore`` of some tables says."""

from __future__ import annotations

from archiver.cli import output
from archiver.replay.postgres.restore import TABLE_COLUMNS, ExcerptReport, ExcerptRestoration
from archiver.replay.postgres.write.merge_file import Difference, DiffLine

_SIGNS = {"insert": "+", "update": "~", "delete": "-"}
_LONGEST = 60
"""Characters of a value."""


def print_planned(planned: ExcerptRestoration) -> None:
    """The plan; with what differs from the live rows where that was compared."""
    excerpt = planned.excerpt
    output.facts(
        [
            *planned.plan.facts(),
            *([("into a new schema", excerpt.into_schema)] if excerpt.into_schema else []),
            *([("script", excerpt.merge_script)] if excerpt.merge_script else []),
            *(("only rows with", f"{column} = {' or '.join(values)}") for column, values in excerpt.rows.items()),
            *(("note", text) for text in planned.notes),
        ]
    )
    output.table("", TABLE_COLUMNS, planned.plan.table_rows())
    if planned.difference is not None:
        _print_difference(planned.difference)
    if planned.refusal is not None:
        output.facts([("REFUSED", planned.refusal.message), ("hint", planned.refusal.hint)])


def print_done(report: ExcerptReport) -> None:
    """What was made."""
    output.facts(
        [
            *([("new schema", report.into_schema), ("rows", sum(table.rows for table in report.tables))] if report.into_schema else []),
            *([("to undo it", f"{report.undo};")] if report.undo else []),
            ("read", f"{output.size(report.read.rows)} of rows, {output.size(report.read.journal)} of the journal behind them"),
            ("seconds", f"{report.seconds:.2f}"),
            *(("note", text) for text in report.notes),
            *(("not included", text) for text in report.not_included),
        ]
    )
    if report.tables:
        lines = [(f"{each.schema}.{each.name}", each.rows, each.changes) for each in report.tables]
        output.table("", ["table", "rows", "changes folded in"], lines)
    if report.difference is not None:
        _print_difference(report.difference)
        output.facts([("script", report.script or "none: the live rows are those of the point")])


def _print_difference(difference: Difference) -> None:
    counted = [(word, getattr(difference, word)) for word in ("inserted", "updated", "deleted", "unchanged")]
    output.facts([("in the live table would be", ", ".join(f"{number} {word}" for word, number in counted))])
    if difference.lines:
        output.table("", ["", "row", "live -> at the point"], [(_SIGNS[line.do], line.key, _changed(line)) for line in difference.lines])
    if difference.total > len(difference.lines):
        output.facts([("not shown", f"{difference.total - len(difference.lines)} more rows")])


def _changed(line: DiffLine) -> str:
    return "; ".join(f"{column}: {_short(live)} -> {_short(past)}" for column, (live, past) in line.changed.items())


def _short(value: str | None) -> str:
    if value is None:
        return "NULL"
    return repr(value) if len(value) <= _LONGEST else f"{value[:_LONGEST]!r}… ({len(value)} characters)"
