"""``archiver maintain --history``: the changes of each source as files for our own questions and for others' engines."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

from archiver.cli import output
from archiver.cli.main import wait_for
from archiver.clock import SystemClock
from archiver.errors import Invalid
from archiver.journal.reader import Reader
from archiver.maintenance.history_files import write_history
from archiver.maintenance.history_step import HistoryStep
from archiver.settings import Settings
from archiver.store.open import open_store


def maintain_history(settings: Settings, sources: Sequence[str], *, as_json: bool) -> None:
    """Write what is missing, and print one line for each step."""
    done = wait_for(lambda: _write(settings, sources))
    if as_json:
        output.print_json(done)
        return
    rows = [_row(each) for each in done]
    output.table("", ["source", "up to entry", "records", "files", "in place of", "written", "stopped because"], rows)


def _row(step: HistoryStep) -> tuple[str, ...]:
    counts = map(str, (step.covered, step.records, step.files, step.merged))
    return step.source, *counts, output.size(step.written), step.reason or "-"


async def _write(settings: Settings, sources: Sequence[str]) -> list[HistoryStep]:
    store = await open_store(settings.archive.url, settings.archive.s3)
    try:
        done: list[HistoryStep] = []
        async with aclosing(write_history(Reader(store), SystemClock(), sources)) as steps:
            async for step in steps:
                if step.files:
                    output.say(f"{step.source}: {step.records} records up to entry {step.covered}")
                done.append(step)
        if missing := set(sources) - {each.source for each in done}:
            raise Invalid(f"the archive has no source {min(missing)!r}", hint="`archiver status` lists its sources")
        return done
    finally:
        await store.close()
