"""``history.memory``: peak resident memory of ``archiver maintain --history``, over the shapes that need most of it.

    python -m benchmarks.history_memory [changes]

Small transactions; one transaction that has everything; a baseline with as many rows; and objects of 4 KB, a twentieth as many, whose files
are merged on the way. The worst counts; the promise is ``maintenance.memory_bytes`` as it is by default.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from archiver.maintenance.limits import MaintenanceLimits
from benchmarks.capturing import quiet, scratch
from benchmarks.child import archiver
from benchmarks.forged import changes_of_objects, changes_of_rows
from benchmarks.report import emit

CHANGES = 2_000_000


def main(changes: int) -> None:
    quiet()
    shapes: dict[str, Callable[[Path], Coroutine[Any, Any, None]]] = {
        "small": lambda folder: changes_of_rows(folder, changes),
        "one": lambda folder: changes_of_rows(folder, changes, per_transaction=changes),
        "copy": lambda folder: changes_of_rows(folder, 20, copied=changes),
        "objects": lambda folder: changes_of_objects(folder, changes // 20),
    }
    peaks: dict[str, float] = {}
    seconds: dict[str, float] = {}
    with scratch() as folder:
        for name, made in shapes.items():
            archive = folder / name
            archive.mkdir()
            asyncio.run(made(archive))
            cpu, peak = archiver("--archive", archive.as_uri(), "maintain", "--history", "--json")
            peaks[f"{name}_mb"] = round((peak << 20) / 1e6, 1)
            seconds[f"{name}_cpu_seconds"] = round(cpu, 1)
    bound = MaintenanceLimits().memory_bytes / 1e6
    more: dict[str, float | str] = {"changes": changes, **peaks, **seconds}
    emit("history.memory", max(peaks.values()), "MB", peer="promised bound", peer_value=bound, less_is_better=True, **more)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else CHANGES)
