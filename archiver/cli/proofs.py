"""``archiver maintain --prove``: checkpoints beside what history files say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from archiver.cli import output
from archiver.cli.main import wait_for
from archiver.cli.maintenance_steps import carried_out
from archiver.clock import SystemClock
from archiver.errors import Corrupt
from archiver.maintenance.proof.engines import spark_digests, spark_path
from archiver.maintenance.proof.proving import REMEDY, OutsideEngine, TableProof, prove
from archiver.maintenance.proof.statement import Sample

if TYPE_CHECKING:
    from archiver.maintenance.proof.statement import TableDigest
    from archiver.settings import Settings

_DAY = 86_400_000_000


def prove_checkpoints(settings: Settings, sources: Sequence[str], *, master: str | None, one_in: int, as_json: bool) -> int:
    """Compare, and print one line for each table. ``master``: Spark's; ``None``: DuckDB computes. Exit code 7 if any differs."""
    clock = SystemClock()
    sample = Sample(one_in, clock.now() // _DAY % one_in)
    outside = None if master is None else _spark(settings.archive.url, master)
    done = wait_for(lambda: carried_out(settings, sources, lambda reader: prove(reader, sources, sample, outside), lambda _: ""))
    if as_json:
        output.print_json(done)
    else:
        output.table("", ["source", "checkpoint", "table", "rows", "columns", "found"], map(_row, done))
    differing = [each for each in done if each.differs]
    if differing:
        output.say(f"{len(differing)} tables differ; {REMEDY}")
    return Corrupt.exit_code if differing else 0


def _spark(url: str, master: str) -> OutsideEngine:
    def digests(keys: Sequence[str], wanted: Sequence[tuple[int, str]], entry: int, sample: Sample) -> dict[int, TableDigest]:
        return spark_digests(master, [spark_path(url, key) for key in keys], wanted, entry, sample)

    return digests


def _row(proof: TableProof) -> tuple[str, ...]:
    if proof.differs:
        found = f"DIFFERS: {proof.differs}"
    else:
        found = "; ".join(text for text in ("equal" if proof.digest else "not compared" if not proof.columns else "", proof.reason) if text)
    columns = f"{proof.columns} of {proof.of}" if proof.of else "-"
    return proof.source, str(proof.checkpoint or "-"), proof.table or "-", str(proof.rows), columns, found
