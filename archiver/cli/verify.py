"""``archiver verify``: the journal itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from archiver.cli import output
from archiver.cli.main import Context, wait_for
from archiver.errors import Corrupt, Invalid, Unavailable
from archiver.journal.remedies import CHECKPOINT_ANEW, HISTORY_ANEW, PACK_ANEW
from archiver.pages import page

if TYPE_CHECKING:
    from archiver.journal.known_head import KnownHead
    from archiver.journal.verifier import CheckedHistory, VerifyReport
    from archiver.journal.verify_levels import Level
    from archiver.settings import Settings

LEVELS: tuple[Level, ...] = ("names", "hashes", "share", "all")
"""As in ``archiver.journal.verify_levels``, which takes longer to load than help may take."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="JSON for scripts.")
@click.option(
    "--level",
    type=click.Choice(LEVELS),
    default="all",
    show_default=True,
    help="names: every segment is there; hashes: their bytes, and sizes of baseline objects; share: also the bytes of a thirtieth of those,"
    " another one each day; all: all bytes. History files likewise, which share and all also compare with a stretch of the journal.",
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
    if not parts and level not in ("hashes", "all"):
        raise Invalid(f"--no-parts is --level hashes, and --level {level} is given", hint="leave one of them out")
    known = KnownHead.parse(known_head) if known_head is not None else None
    noted = KnownHead.parse(since) if since is not None else None
    report = wait_for(lambda: _verify(context.settings(), "hashes" if level == "all" and not parts else level, noted, known))
    known = known or noted
    bad = not report.ok or bool(report.strays or report.bad_checkpoints or report.bad_packs or report.bad_history)
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
        elif report.bad_checkpoints:
            wrong = "is whole, but holds what no restore should begin with"
        elif report.bad_packs:
            wrong = "is whole, but holds packs that are not what its segments are"
        else:
            wrong = "is whole, but its history files are not what it gives"
        raise Corrupt(f"the archive {wrong}: {report.verdict}", hint=f"see {page('runbooks/archive-corrupt.md')}")


async def _verify(settings: Settings, level: Level, since: KnownHead | None, known: KnownHead | None) -> VerifyReport:
    from archiver.cli.progress import counting
    from archiver.clock import SystemClock
    from archiver.journal.keys import HISTORY
    from archiver.journal.reader import Reader
    from archiver.journal.verify_levels import verify_level
    from archiver.store.open import open_store

    store = await open_store(settings.archive.url, settings.archive.s3)
    try:
        with counting("verifying") as progress:
            turn = SystemClock().now() // _DAY
            report = await verify_level(store, progress, level=level, turn=turn, since=since, known_head=known)
        # What they are compared with must be whole.
        if report.ok and await store.list(HISTORY, limit=1):
            from archiver.maintenance.history_checking import check_history

            report.history = await check_history(Reader(store), level=level, turn=turn)
        return report
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
        *([("packs", f"{report.packs}, and {len(report.bad_packs)} bad")] if report.packs or report.bad_packs else []),
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
            f"bad folded checkpoints ({len(report.bad_checkpoints)}): {CHECKPOINT_ANEW}",
            ["object", "reason"],
            [(bad.key, bad.reason) for bad in report.bad_checkpoints[:_SHOWN]],
        )
    if report.bad_packs:
        output.table(
            f"bad packs ({len(report.bad_packs)}): {PACK_ANEW}",
            ["object", "reason"],
            [(bad.key, bad.reason) for bad in report.bad_packs[:_SHOWN]],
        )
    for each in report.history:
        output.facts([(f"history files of {each.source}", _of_history(each))])
    if report.bad_history:
        output.table(
            f"bad history files ({len(report.bad_history)}): {HISTORY_ANEW}",
            ["object", "reason"],
            [(bad.key, bad.reason) for bad in report.bad_history[:_SHOWN]],
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


def _of_history(found: CheckedHistory) -> str:
    looked = f"{found.files} files up to entry {found.covered}, bytes of {found.groups} row groups read"
    left = f", of {found.groups_left} not" if found.groups_left else ""
    return f"{looked}{left}; compared with the journal: {found.compared or 'nothing'}"


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
