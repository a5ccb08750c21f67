"""``archiver status`` and ``verify``: the journal itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from archiver.cli import output
from archiver.cli.main import Context, wait_for
from archiver.errors import Corrupt, Invalid, Unavailable
from archiver.pages import page

if TYPE_CHECKING:
    from archiver.journal.entry import SourceMark
    from archiver.journal.known_head import KnownHead
    from archiver.journal.reader import Reader
    from archiver.journal.verifier import VerifyReport
    from archiver.journal.verify_levels import Level
    from archiver.maintenance.tails import Tail
    from archiver.service.status import ArchiveStatus, SourceLine
    from archiver.settings import Settings

LEVELS: tuple[Level, ...] = ("names", "hashes", "share", "all")
"""As in ``archiver.journal.verify_levels``, which takes longer to load than help may take."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="JSON for scripts; times in microseconds since 1970, null for what is not known.")
@click.option("--offline", is_flag=True, help="Only what the journal says; do not ask the sources for their lag.")
@click.pass_obj
def status(context: Context, *, as_json: bool, offline: bool) -> None:
    """Show durable positions, lag, age of the last commit and the last baseline of every source."""
    from archiver.clock import SystemClock
    from archiver.service.status import shown

    value = wait_for(lambda: _status(context.settings(), offline=offline))
    now = SystemClock().now()
    if as_json:
        output.print_json(shown(value, running=False))
        return
    output.facts(
        [
            ("archive", f"{value.archive} at {value.url}"),
            ("last commit", f"{output.moment(value.last_commit)} ({value.age_seconds:.1f} s ago)"),
            ("last entry", f"{value.last_entry} in segment {value.segment} (epoch {value.epoch})"),
            *([("damage behind it", value.damage)] if value.damage else []),
            *([("strays", f"{', '.join(value.strays[:5])}: no segments; move them away")] if value.strays else []),
        ]
    )
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
    output.facts([("warning", f"{line.name}: {text}") for line in value.sources for text in line.warnings])


def _folded(line: SourceLine, now: int) -> str:
    from archiver.clock import duration_text

    if line.tail_seconds is None:
        return "-"
    made = f"{output.moment(line.folded_time)} ({duration_text((now - line.folded_time) / 1e6)} ago)" if line.folded else "none"
    return f"{made}, {line.tail_seconds:.0f} s of tail"


async def _status(settings: Settings, *, offline: bool) -> ArchiveStatus:
    from archiver.clock import SystemClock
    from archiver.journal.reader import Reader
    from archiver.kubernetes.stream_silence import open_silence
    from archiver.maintenance.tails import tail_behind
    from archiver.service.service import kinds
    from archiver.service.sources import ask_sources
    from archiver.service.status import ArchiveStatus, SourceLine, add_tail, lines
    from archiver.store.open import open_store

    store = await open_store(settings.archive.url, settings.archive.s3)
    try:
        reader = Reader(store)
        tail = await reader.tail()
        if tail is None:
            raise Invalid(f"there is no journal at {store.url}", hint="start one with `archiver run`, or name the right archive.url")
        now = SystemClock().now()
        value = ArchiveStatus(
            archive=tail.archive,
            url=store.url,
            segment=tail.number,
            epoch=tail.epoch,
            last_entry=tail.first + tail.count - 1,
            last_commit=tail.time,
            age_seconds=max(0.0, (now - tail.time) / 1e6),
            sources=lines(tail.sources, kinds(settings), now),
            damage=reader.fault.message if reader.fault is not None else "",
            strays=list(reader.strays),
        )
        # One that never had a stream has no line of its own in the journal, and must not look as if nobody had asked for it.
        value.sources += [
            SourceLine(name=name, kind=kind, problem="nothing of it was ever captured")
            for name, kind in kinds(settings).items()
            if not any(name in (line.name, line.name.partition("/")[0]) for line in value.sources)
        ]
        tails: dict[str, Tail | None] = {}
        for line in value.sources:
            if line.kind == "kubernetes" and line.name in tail.sources:
                silence = await open_silence(reader, line.name, tail.sources[line.name])
                if silence is not None:
                    line.unknown_since = silence.from_time
                    line.problem = f"nothing is heard of it since {output.moment(silence.from_time)}: {silence.detail}"
            source = line.name.partition("/")[0]
            if line.name in tail.sources and source not in tails:
                try:
                    tails[source] = await tail_behind(reader, SystemClock(), source)
                except Corrupt as error:
                    # What else is known is said all the same.
                    line.problem = _joined(line.problem, f"not known what a restore would read: {error.message}")
            add_tail(line, tails.get(source))
            if line.kind == "postgres" and line.name in tail.sources:
                try:
                    await _say_uncopied(reader, line, tail.sources[line.name])
                    await _say_schema(reader, line, tail.sources[line.name], tail.number if offline else None)
                except Corrupt as error:
                    # What else is known is said all the same.
                    line.problem = _joined(line.problem, f"not known what is uncopied: {error.message}")
            completed = await reader.header(tail.sources[line.name].checkpoint_segment) if line.checkpoint else None
            line.last_baseline = completed.time if completed is not None else 0
        if not offline:
            await ask_sources(settings, value.sources)
        return value
    finally:
        await store.close()


async def _say_schema(reader: Reader, line: SourceLine, mark: SourceMark, last: int | None) -> None:
    """Say how far the schema is known: that changes are not announced, and that the journal ends with a schema that is not known.

    ``last``: the journal's newest segment; ``None`` where somebody else knows the latter without reading.
    """
    from archiver.capture.postgres.start.journal_view import schema_knowledge
    from archiver.postgres.announcements import NOT_ANNOUNCED

    known = await schema_knowledge(reader, line.name, mark, last)
    if not known.announced:
        newest = f"; the newest one in the journal reached LSN {known.until}" if last is not None else ""
        line.warnings.append(f"{NOT_ANNOUNCED}{newest}")
    if (gap := known.gap) is not None:
        line.unknown_since = gap.from_time if line.unknown_since is None else min(gap.from_time, line.unknown_since)
        # Before what else is wrong.
        line.problem = _joined(f"schema: {gap.detail or gap.reason}", line.problem)


def _joined(*problems: str) -> str:
    return "; ".join(filter(None, problems))


async def _say_uncopied(reader: Reader, line: SourceLine, mark: SourceMark) -> None:
    """Name the tables whose rows the journal does not have, as its newest schema says."""
    from archiver.capture.postgres.start.journal_view import newest_schema

    schema = await newest_schema(reader, line.name, mark)
    if schema is None or not schema.catalog.pending:
        return
    names = [f"{table.schema}.{table.name}" for table in schema.catalog.tables if table.oid in schema.catalog.pending]
    line.unknown_since = schema.taken
    line.problem = f"rows of {len(names)} tables are not in the journal: {', '.join(sorted(names)[:5])}"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="JSON for scripts.")
@click.option(
    "--level",
    type=click.Choice(LEVELS),
    default="all",
    show_default=True,
    help="names: every segment is there; hashes: their bytes, and sizes of baseline objects; share: also the bytes of a thirtieth of those,"
    " another one each day; all: all bytes.",
)
@click.option("--parts/--no-parts", default=True, help="--no-parts is the same as --level hashes.")
@click.option(
    "--since",
    metavar="HASH@NUMBER",
    help="A chain head that an earlier verify printed: with level hashes or share, go on behind it. What is before it is looked at by name,"
    " and with level share a thirtieth of it each day.",
)
@click.option(
    "--known-head",
    metavar="HASH[@NUMBER]",
    help="The chain head that an earlier verify printed and that you noted elsewhere: the journal must still hold it.",
)
@click.pass_obj
def verify(context: Context, *, as_json: bool, level: Level, parts: bool, since: str | None, known_head: str | None) -> None:
    """Read the journal and prove it: contiguous, unaltered, chained. Names all that is bad, and which points of which source
    can be restored all the same. Exit code 7 if anything is bad.

    Who may write to the archive can make another whole journal. Note the chain head that is printed in a place where they cannot write,
    and give it with --known-head the next time, or with --since. Whatever level finds something bad, the whole journal is read then.
    """
    from archiver.journal.known_head import KnownHead

    if since is not None and known_head is not None:
        raise Invalid("--since and --known-head are both given", hint="--since compares the head as well: leave --known-head out")
    known = KnownHead.parse(known_head) if known_head is not None else None
    noted = KnownHead.parse(since) if since is not None else None
    report = wait_for(lambda: _verify(context.settings(), "hashes" if level == "all" and not parts else level, noted, known))
    known = known or noted
    bad = not report.ok or bool(report.strays or report.bad_checkpoints)
    try:
        if as_json:
            output.print_json(report)
        else:
            _print(report, known)
    except Unavailable:
        # That the archive is bad is worth more than that the table of what is bad cannot be written.
        if not bad:
            raise
    if bad:
        if not report.ok:
            wrong = "is not what was written"
        elif report.strays:
            wrong = "is whole, but holds what is not ours"
        else:
            wrong = "is whole, but holds what no restore should begin with"
        raise Corrupt(f"the archive {wrong}: {report.verdict}", hint=f"see {page('runbooks/archive-corrupt.md')}")


async def _verify(settings: Settings, level: Level, since: KnownHead | None, known: KnownHead | None) -> VerifyReport:
    from archiver.cli.progress import counting
    from archiver.clock import SystemClock
    from archiver.journal.verify_levels import verify_level
    from archiver.store.open import open_store

    store = await open_store(settings.archive.url, settings.archive.s3)
    try:
        with counting("verifying") as progress:
            turn = SystemClock().now() // _DAY
            return await verify_level(store, progress, level=level, turn=turn, since=since, known_head=known)
    finally:
        await store.close()


_DAY = 86_400_000_000
"""Microseconds."""


def _proved(report: VerifyReport) -> list[tuple[str, object]]:
    """What is known of segments that were read."""
    return [
        ("entries", report.entries),
        ("bytes", output.size(report.bytes)),
        ("sessions", report.sessions),
        ("baseline objects", report.parts),
        ("folded checkpoints", f"{report.checkpoints}, and {len(report.bad_checkpoints)} bad"),
        ("gaps", len(report.gaps)),
        ("proved up to", output.moment(report.time)),
        ("chain head", report.head),
    ]


def _print(report: VerifyReport, known: KnownHead | None) -> None:
    output.facts(
        [
            ("result", "whole" if report.ok else "NOT WHOLE"),
            ("looked at", f"{report.level}{f', from {report.since} on' if report.since else ''}"),
            ("segments", f"{report.segments} ({len(report.void)} void)"),
            *([] if not report.head else _proved(report)),
            *([("known head", report.head_fault or "held")] if known is not None else []),
            *([("behind it", f"{report.behind} whole segments, not proved to continue it")] if report.behind else []),
            *([("strays", ", ".join(report.strays[:5]))] if report.strays else []),
        ]
    )
    if not report.ok:
        _print_damage(report)
    if report.bad_checkpoints:
        output.table(
            f"bad folded checkpoints ({len(report.bad_checkpoints)}): delete them; `archiver maintain` makes them anew",
            ["object", "reason"],
            [(bad.key, bad.reason) for bad in report.bad_checkpoints[:_SHOWN]],
        )
    if report.gaps:
        output.table(
            "gaps",
            ["source", "what", "reason", "from", "to"],
            [
                (
                    gap.source,
                    gap.gap.what,
                    gap.gap.reason,
                    f"{gap.gap.from_position} {output.moment(gap.gap.from_time)}",
                    f"{gap.gap.to_position} {output.moment(gap.gap.to_time or gap.ended_time)}".strip(),
                )
                for gap in report.gaps
            ],
        )


_SHOWN = 50
"""Lines of one table; ``--json`` has all."""


def _print_damage(report: VerifyReport) -> None:
    if report.bad_segments:
        output.table(
            f"bad segments ({len(report.bad_segments)})",
            ["segment", "behind entry", "up to entry", "between", "reason"],
            [
                (
                    str(bad.segment) if bad.to_segment == bad.segment else f"{bad.segment} to {bad.to_segment}",
                    bad.after_entry,
                    bad.next_entry - 1 if bad.next_entry else "the end",
                    f"{output.moment(bad.after_time)} and {output.moment(bad.next_time)}",
                    bad.reason,
                )
                for bad in report.bad_segments[:_SHOWN]
            ],
        )
    if report.bad_parts:
        output.table(
            f"bad baseline objects ({len(report.bad_parts)})",
            ["object", "of entry", "reason"],
            [(bad.key, bad.seq, bad.reason) for bad in report.bad_parts[:_SHOWN]],
        )
    output.table(
        "what can still be restored",
        ["source", "from entry", "to entry", "from time", "to before", "proved"],
        [
            (
                each.source,
                each.from_entry,
                each.to_entry,
                output.moment(each.from_time),
                output.moment(each.before_time) if each.before_time else "the end",
                "yes" if each.proved else "not to continue what was before",
            )
            for each in report.restorable
        ],
    )
