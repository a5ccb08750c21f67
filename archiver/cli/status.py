"""``archiver status``: one line a source, or every stream of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from archiver.cli import output
from archiver.cli.main import Context, wait_for

if TYPE_CHECKING:
    from archiver.service.status import ArchiveStatus, SourceLine
    from archiver.service.summary import SourceSummary, StatusReport


@click.command()
@click.option("--wide", is_flag=True, help="Every stream of every source, with positions and times.")
@click.option("--check", is_flag=True, help="Exit code 1 when the backup is not what was promised.")
@click.option("--json", "as_json", is_flag=True, help="JSON for scripts; times in microseconds since 1970, null for what is not known.")
@click.option("--offline", is_flag=True, help="Only what the journal says; ask neither a running archiver nor the databases.")
@click.pass_obj
def status(context: Context, *, wide: bool, check: bool, as_json: bool, offline: bool) -> int:
    """Show every source in one line, and what is wrong.

    \b
    state   as the archiver on this machine says (at web.listen), or the database
    age     of the newest durable entry: what a loss of the source would cost now
    lag     what the database has written and the journal has not
    gaps    what a restore to `latest` would miss; `archiver window` has all
    from    when the first complete state stood; `window` has every span since
    drill   how long ago the newest one ended, and how

    With --check exit code 1 says that something is wrong, by the journal's age, web.rpo_seconds and what /readyz says where it answers.
    """
    from archiver.clock import SystemClock
    from archiver.service.journal_status import status_of

    settings = context.settings()
    report = wait_for(lambda: status_of(settings, SystemClock(), offline=offline))
    now = SystemClock().now()
    if as_json:
        output.print_json(report.plain())
    else:
        _print(report, now, wide=wide)
    return 1 if check and report.problems else 0


def _print(report: StatusReport, now: int, *, wide: bool) -> None:
    value = report.status
    output.facts(
        [
            ("archive", f"{value.archive} at {value.url}"),
            ("last commit", f"{output.moment(value.last_commit)} ({output.age(value.age_seconds)} ago)"),
            ("last entry", f"{value.last_entry} in segment {value.segment} (epoch {value.epoch})"),
            *([("damage behind it", value.damage)] if value.damage else []),
            *([("strays", f"{', '.join(value.strays[:5])}: no segments; move them away")] if value.strays else []),
        ]
    )
    if wide:
        _print_streams(value, now)
    else:
        output.one_line_each(
            ["source", "state", "age", "lag", "gaps", "from (UTC)", "drill"], [_line(each, now) for each in report.summary]
        )
    output.facts([("warning", f"{line.name}: {text}") for line in value.sources for text in line.warnings])
    output.facts(
        [
            *(("problem", text) for text in report.problems if text != value.damage),
            *(("note", text) for text in report.notes if not any(text.startswith(key) for key in value.strays)),
        ]
    )


def _line(each: SourceSummary, now: int) -> list[str]:
    drill = "never" if each.drill is None else f"{output.age((now - each.drill.finished) / 1e6)} {'ok' if each.drill.passed else 'FAILED'}"
    return [
        each.name,
        each.state or "-",
        output.age(each.age_seconds),
        "-" if each.lag_bytes is None else output.size(each.lag_bytes),
        str(each.open_gaps or "none"),
        output.moment(each.restorable_from)[:16].replace("T", " ") if each.restorable_from else "not yet",
        drill,
    ]


def _print_streams(value: ArchiveStatus, now: int) -> None:
    output.records(
        [
            "source",
            "state",
            "durable position",
            "source position",
            "lag",
            "newest change",
            "received",
            "last baseline",
            "last folded",
            "unknown since",
            "problem",
        ],
        [
            (
                line.name,
                line.state,
                line.durable_position,
                line.source_position,
                "-" if line.lag_bytes is None else output.size(line.lag_bytes),
                output.moment(line.newest_change),
                output.moment(line.observed),
                output.moment(line.last_baseline) if line.checkpoint else "none yet",
                _folded(line, now),
                "-" if line.unknown_since is None else output.moment(line.unknown_since) if line.unknown_since else "its beginning",
                line.problem,
            )
            for line in value.sources
        ],
    )


def _folded(line: SourceLine, now: int) -> str:
    from archiver.clock import duration_text

    if line.tail_seconds is None:
        return "-"
    made = f"{output.moment(line.folded_time)} ({duration_text((now - line.folded_time) / 1e6)} ago)" if line.folded else "none"
    return f"{made}, {line.tail_seconds:.0f} s of tail"
