"""``archiver window``: how far back each source can be restored, and what is missing on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from archiver.cli import output
from archiver.cli.main import Context, wait_for
from archiver.errors import Corrupt, Invalid
from archiver.pages import page
from archiver.suggestions import meant

if TYPE_CHECKING:
    from archiver.journal.verifier import VerifyReport
    from archiver.journal.window import SourceWindow
    from archiver.settings import Settings

_SHOWN = 50
"""Gaps of one table; ``--json`` has all."""


@click.command()
@click.option("--source", "sources", multiple=True, metavar="NAME", help="Only this source, or this stream of one; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="JSON for scripts; times in microseconds since 1970, null for what is open.")
@click.pass_obj
def window(context: Context, *, sources: tuple[str, ...], as_json: bool) -> None:
    """Show per source from when to when every point can be restored, every gap in between, and the last drill.

    Reads the whole journal, as `verify --level hashes` does. A point inside a gap is restored with --allow-gaps only; what else is
    uncertain at a point, `restore --at POINT --dry-run` tells. Exit code 7 if anything of the archive is bad.
    """
    report, found = wait_for(lambda: _window(context.settings(), sources))
    if as_json:
        output.print_json({"archive": report.archive, "damage": report.verdict or None, "sources": found})
    else:
        _print(found)
    if not report.ok:
        raise Corrupt(
            f"the archive is not what was written: {report.verdict}",
            hint=f"what is shown can be restored all the same; see {page('runbooks/archive-corrupt.md')}",
        )


async def _window(settings: Settings, sources: tuple[str, ...]) -> tuple[VerifyReport, list[SourceWindow]]:
    from archiver.cli.progress import counting
    from archiver.clock import SystemClock
    from archiver.journal.drill_reports import newest
    from archiver.journal.verifier import verify
    from archiver.journal.window import windows
    from archiver.postgres.unseen_changes import UnseenChanges
    from archiver.store.open import open_store

    store = await open_store(settings.archive.url, settings.archive.s3)
    try:
        with counting("reading") as progress:
            report = await verify(store, progress, finder=UnseenChanges())
        names = {each.source.partition("/")[0] for each in report.restorable}
        _, drills = await newest(store, names, now=SystemClock().now())
    finally:
        await store.close()
    found = windows(report, drills)
    chosen = [each for each in found if not sources or each.source in sources or each.source.partition("/")[0] in sources]
    for name in sources:
        if not any(name in (each.source, each.source.partition("/")[0]) for each in chosen):
            known = sorted({each.source.partition("/")[0] for each in found})
            hint = f"{meant(name, [*known, *(each.source for each in found)])}its sources: {', '.join(known) or 'none'}"
            raise Invalid(f"the archive has no source {name!r} of which something can be restored", hint=hint)
    return report, chosen


def _print(found: list[SourceWindow]) -> None:
    if not found:
        output.answer("nothing can be restored yet: no baseline is complete")
        return
    output.table(
        "points that can be restored",
        ["source", "from", "to before", "gaps", "last drill"],
        [
            (
                each.source if not number else "",
                output.moment(one.from_time),
                "the end" if one.before_time is None else output.moment(one.before_time),
                str(len(each.gaps) or "none") if not number else "",
                _drill(each) if not number else "",
            )
            for each in found
            for number, one in enumerate(each.restorable)
        ],
    )
    lost = [each.source for each in found if not each.restorable]
    if lost:
        output.answer(f"\nnothing of these can be restored: {', '.join(lost)}")
    gaps = [(each.source, gap) for each in found for gap in each.gaps]
    if gaps:
        output.table(
            f"gaps ({len(gaps)})",
            ["source", "what", "reason", "from", "to"],
            [
                (
                    source,
                    gap.what,
                    gap.reason,
                    output.moment(gap.from_time) if gap.from_time else "the beginning",
                    "open" if gap.to_time is None else output.moment(gap.to_time),
                )
                for source, gap in gaps[:_SHOWN]
            ],
        )
        if len(gaps) > _SHOWN:
            output.answer(f"{len(gaps) - _SHOWN} more: --json has all")


def _drill(each: SourceWindow) -> str:
    if each.drill is None:
        return "never"
    return f"{output.moment(each.drill.finished)} {'passed' if each.drill.passed else 'FAILED'}"
