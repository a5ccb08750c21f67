"""``history.one_key``: how long a cold `archiver log` of one row takes among many changes, with history files and without.

    python -m benchmarks.history_one_key [changes]

The journal is made by the product's own writer from frames as a server sends them: a hundredth as many rows as changes, each updated over
and over in an order that no cache likes. Value: milliseconds from the start of the process to its end, median of three, the files covering
the whole journal; the peer is the same command without them, once. Beside them: how long a process takes that only prints its version, and
what it took to write the files.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from archiver.clock import SystemClock
from archiver.journal.keys import HISTORY
from archiver.journal.reader import Reader
from archiver.maintenance.history_files import write_history
from archiver.store.directory import DirectoryStore
from benchmarks.capturing import quiet, scratch
from benchmarks.forged import changes_of_rows
from benchmarks.report import emit

CHANGES = 2_000_000
KEY = 5


async def write_files(folder: Path) -> int:
    """Bytes of the history files."""
    store = DirectoryStore(folder)
    done = sum([step.written async for step in write_history(Reader(store), SystemClock())])
    await store.close()
    return done


def call(folder: Path, *arguments: str) -> tuple[float, bytes]:
    """Milliseconds and answer of one command in a process of its own."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "archiver", "--archive", folder.as_uri(), *arguments]
    done = subprocess.run(command, check=True, capture_output=True)
    return (time.perf_counter() - began) * 1000, done.stdout


def measures(changes: int = CHANGES) -> Iterator[dict[str, Any]]:
    """The measure, as ``report`` wants it."""
    quiet()
    asked = ("log", "--source", "db", "--table", "t", "--key", f"id={KEY}", "--json")
    with scratch() as folder:
        asyncio.run(changes_of_rows(folder, changes))
        used = time.process_time()
        written = asyncio.run(write_files(folder))
        used = time.process_time() - used
        found = [call(folder, *asked) for _ in range(3)]
        bare = statistics.median(call(folder, "--version")[0] for _ in range(3))
        shutil.rmtree(folder / HISTORY)
        peer, answer = call(folder, *asked)
        assert all(each == answer for _, each in found)
        yield {
            "measure": "history.one_key",
            "value": statistics.median(each for each, _ in found),
            "unit": "ms",
            "peer": "the journal alone",
            "peer_value": peer,
            "less_is_better": True,
            "changes": changes,
            "versions": len(msgspec.json.decode(answer)),
            "bare_process_ms": round(bare, 1),
            "files_mb": round(written / 1e6, 1),
            "written_per_cpu_second": round(changes / used),
        }


def main() -> None:
    for measure in measures(int(sys.argv[1]) if len(sys.argv) > 1 else CHANGES):
        emit(**measure)


if __name__ == "__main__":
    main()
