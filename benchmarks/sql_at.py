"""``sql.at``: seconds of a cold `archiver sql` until its first row, as of a point in a long journal, beside a journal that has little else.

    python -m benchmarks.sql_at [changes]

The journals are those of ``log.window``: made by the product's own writer and folded as `archiver maintain` does. The point lies before the
newest tenth, so the state of its table is folded from the nearest checkpoint before it. The peer asks the same of a journal of
a few minutes. Value: seconds from the start of the process until the answer's
first line is there, median of three, and the CPU seconds of both.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from archiver.clock import to_text
from benchmarks.capturing import quiet, scratch
from benchmarks.child import Answer, ask
from benchmarks.log_window import CHANGES, PER_SECOND, ROWS, SHORT, forge
from benchmarks.report import emit

_QUESTION = "SELECT count(*) AS rows, max(note) AS newest FROM t"


def answer(folder: Path, ended: int, changes: int) -> Answer:
    """The one that took the middle one of three times, until its first row."""
    at = to_text((ended - changes // PER_SECOND // 10) * 1_000_000)
    found = sorted((ask(folder, "sql", "--json", "--at", at, _QUESTION) for _ in range(3)), key=lambda each: each.first)[1]
    assert msgspec.json.decode(found.text)["rows"] == ROWS
    return found


def main(changes: int) -> None:
    quiet()
    with scratch() as folder:
        found = answer(folder / "long", forge(folder / "long", changes), changes)
        peer = answer(folder / "short", forge(folder / "short", SHORT), SHORT)
    emit(
        "sql.at",
        found.first,
        "s",
        peer=f"in a journal of {SHORT} changes",
        peer_value=peer.first,
        less_is_better=True,
        cpu_seconds=round(found.cpu, 2),
        peer_cpu_seconds=round(peer.cpu, 2),
        changes=changes,
        rows=ROWS,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else CHANGES)
