"""``archiver maintain --history``: the changes of each source as files for our own questions and for others' engines."""

from __future__ import annotations

from collections.abc import Sequence

from archiver.cli import output
from archiver.cli.main import wait_for
from archiver.cli.maintenance_steps import carried_out
from archiver.clock import SystemClock
from archiver.maintenance.history_files import write_history
from archiver.maintenance.history_step import HistoryStep
from archiver.settings import Settings


def maintain_history(settings: Settings, sources: Sequence[str], *, as_json: bool) -> None:
    """Write what is missing, and print one line for each step."""
    done = wait_for(lambda: carried_out(settings, sources, lambda reader: write_history(reader, SystemClock(), sources), _said))
    if as_json:
        output.print_json(done)
        return
    rows = [_row(each) for each in done]
    output.table("", ["source", "up to entry", "records", "files", "in place of", "written", "stopped because"], rows)


def _said(step: HistoryStep) -> str:
    return f"{step.records} records up to entry {step.covered}" if step.files else ""


def _row(step: HistoryStep) -> tuple[str, ...]:
    counts = map(str, (step.covered, step.records, step.files, step.merged))
    return step.source, *counts, output.size(step.written), step.reason or "-"
