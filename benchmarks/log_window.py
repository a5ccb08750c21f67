"""``log.window``: seconds of a cold `archiver log` of everything in five minutes of a long journal, beside a journal that has little else.

    python -m benchmarks.log_window [changes]

The journal is made by the product's own writer, 30 changes a second up to now, so five minutes have 9 000 of them however long it is, and
folded as `archiver maintain` does. The five minutes end before the newest tenth. The peer asks the same of a journal of 15 minutes of the
same. Value: seconds from the start of the process to its end, every change printed as JSON, median of three, and the
CPU seconds of both. At full size (10 000 000) writing takes some minutes before the first question.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from archiver.clock import SystemClock, to_text
from benchmarks.capturing import quiet, scratch
from benchmarks.child import Answer, archiver, ask
from benchmarks.forged import changes_of_rows
from benchmarks.report import emit

CHANGES = 200_000
ROWS = 10_000
PER_SECOND = 30
WINDOW = 300
SHORT = 3 * WINDOW * PER_SECOND
"""Changes of the peer's journal."""


def forge(folder: Path, changes: int) -> int:
    """Write and fold a journal; the time at which it ends, seconds."""
    folder.mkdir()
    asyncio.run(changes_of_rows(folder, changes, copied=ROWS, many=ROWS, apart=1_000_000 // PER_SECOND))
    ended = SystemClock().now() // 1_000_000
    archiver("--archive", folder.as_uri(), "maintain", "--behind", "0", "--json")
    return ended


def window(folder: Path, until: int) -> Answer:
    """The answer that took the middle one of three times."""
    span = [to_text(second * 1_000_000) for second in (until - WINDOW, until)]
    return sorted((ask(folder, "log", "--from", span[0], "--until", span[1], "--json") for _ in range(3)), key=lambda each: each.seconds)[1]


def main(changes: int) -> None:
    quiet()
    with scratch() as folder:
        long, short = folder / "long", folder / "short"
        found = window(long, forge(long, changes) - changes // PER_SECOND // 10)
        peer = window(short, forge(short, SHORT) - SHORT // PER_SECOND // 10)
    lines = found.text.count(b"\n")
    assert abs(lines - peer.text.count(b"\n")) < PER_SECOND
    emit(
        "log.window",
        found.seconds,
        "s",
        peer=f"in a journal of {SHORT} changes",
        peer_value=peer.seconds,
        less_is_better=True,
        cpu_seconds=round(found.cpu, 2),
        peer_cpu_seconds=round(peer.cpu, 2),
        changes=changes,
        found=lines,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else CHANGES)
