"""How fast frames of a journal become COPY text, in one thread: one JSON line per measure.

    python -m benchmarks.restore_fold [rows]

Each measure is the median of three rounds; frames are made first and not counted. ``value`` is changes per second.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator

from archiver.journal.entry import Kind, Placed, Run
from archiver.postgres.records import Catalog, Column, Schema, Snapshot, Table, TableRows
from archiver.replay.postgres.fold.database import DatabaseFold
from benchmarks.report import emit
from tests.unit.replay.postgres import wire

COLUMNS = ("id", "name", "amount", "at", "note")
EPOCH_TIME = 1_800_000_000_000_000


def schema(key: bool) -> Schema:
    columns = [Column(number, name, "text", 25) for number, name in enumerate(COLUMNS, 1)]
    table = Table(1, "public", "t", "r", "p", "d" if key else "f", 1, "key" if key else "full", columns, [1] if key else [])
    return Schema("0/1", "1:1:", 0, "baseline", 160000, "", Catalog([table]))


def row(number: int, change: int = 0) -> list[wire.Cell]:
    return [
        b"%d" % number,
        b"name of number %d" % number,
        b"%d.%02d" % (number * 7 + change, number % 100),
        b"2026-08-22 10:%02d:%02d.%06d+00" % (number // 60 % 60, number % 60, number),
        b"a note that says %d" % (number % 1000) if number % 10 else None,
    ]


def runs(messages: Iterator[bytes], per_transaction: int, key: bool) -> list[Placed]:
    """Runs of 2 000 frames, as a busy source gives."""
    relation = wire.relation(1, "t", "d" if key else "f", [(name, 25, name == "id" or not key) for name in COLUMNS])
    bodies: list[bytes] = []
    placed: list[Placed] = []
    seq = lsn = 1

    def put(frames: list[bytes]) -> None:
        nonlocal seq
        placed.append(Placed(seq, 0, 1, 0, Run.of("db", Kind.PG_FRAMES, frames, observed=0)))
        seq += len(frames)

    content: list[bytes] = [relation]
    for message in messages:
        content.append(message)
        if len(content) >= per_transaction:
            lsn += 10
            bodies += [wire.frame(one) for one in (wire.begin(lsn, lsn, EPOCH_TIME), *content, wire.commit(lsn, lsn + 1, EPOCH_TIME))]
            content = []
            if len(bodies) >= 2000:
                put(bodies)
                bodies = []
    lsn += 10
    bodies += [wire.frame(one) for one in (wire.begin(lsn, lsn, EPOCH_TIME), *content, wire.commit(lsn, lsn + 1, EPOCH_TIME))]
    put(bodies)
    return placed


def fold(placed: list[Placed], key: bool, base: bytes) -> int:
    state = DatabaseFold([schema(key)])
    rows = TableRows(1, "public", "t", "key" if key else "full", list(COLUMNS), [1, 2, 3, 4, 5], [])
    state.checkpoint(Snapshot("0/1", "1:1:", 0, 0, [rows]))
    for run in placed:
        state.feed(run)
    state.finish()
    output = state.table(1).output([1, 2, 3, 4, 5])
    size = sum(len(text) for text in output.part(base)) + sum(len(text) for text in output.rest())
    assert output.rows
    return size


def text(numbers: range) -> bytes:
    return b"".join(b"\t".join(b"\\N" if cell is None else bytes(cell) for cell in row(number)) + b"\n" for number in numbers)  # type: ignore[arg-type]


def measure(name: str, changes: int, placed: list[Placed], base: bytes, key: bool = True) -> None:
    seconds, cpu = [], []
    for _ in range(3):
        start, used = time.perf_counter(), time.process_time()
        fold(placed, key, base)
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - used)
    emit(
        name,
        changes / statistics.median(seconds),
        "changes/s",
        changes=changes,
        seconds=round(statistics.median(seconds), 2),
        cpu_seconds=round(statistics.median(cpu), 2),
    )


def updates(rows: int, kept: list[wire.Cell] | None = None) -> Iterator[bytes]:
    """Each of the rows twice, in an order that no cache likes; ``kept``: instead of the last columns."""
    for number in range(2 * rows):
        new = row(number * 7919 % rows, 1)
        yield wire.update(1, new if kept is None else [*new[: -len(kept)], *kept])


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_100_000
    half = rows // 2
    note = b'{"a": "line\\n\\t", "b": %d}\n'
    measure("fold.insert", rows, runs((wire.insert(1, row(number)) for number in range(rows)), 1000, key=True), b"")
    measure("fold.insert.one_row_transactions", half, runs((wire.insert(1, row(number)) for number in range(half)), 1, key=True), b"")
    escaped = (wire.insert(1, [*row(number)[:4], note % number]) for number in range(half))
    measure("fold.insert.escaped", half, runs(escaped, 1000, key=True), b"")
    base = text(range(half))
    measure("fold.update", 2 * half, runs(updates(half), 1000, key=True), base)
    measure("fold.update.unchanged_toast", 2 * half, runs(updates(half, [wire.UNCHANGED]), 1000, key=True), base)
    full = (wire.update(1, row(number, 1), row(number), full=True) for number in range(half))
    measure("fold.update.full_identity", half, runs(full, 1000, key=False), base, key=False)


if __name__ == "__main__":
    main()
