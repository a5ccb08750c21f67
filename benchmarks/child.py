"""A command in a process of its own, and what it took."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple


class Answer(NamedTuple):
    """What a command printed, and what it took."""

    text: bytes
    first: float
    """Seconds until its first line was there."""
    seconds: float
    """From its start to its end."""
    cpu: float
    """Seconds of one core, which other work on the machine hardly changes."""


def ask(folder: Path, *arguments: str) -> Answer:
    """The answer of ``archiver …`` over the archive in ``folder``."""
    command = [sys.executable, "-m", "archiver", "--archive", folder.as_uri(), *arguments]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        first = time.perf_counter() - began
        text = line + process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"archiver {arguments[0]} ended with {process.returncode}: {text.decode()[-500:]}")
    return Answer(text, first, time.perf_counter() - began, usage.ru_utime + usage.ru_stime)


def archiver(*arguments: str) -> tuple[float, int]:
    """CPU seconds of ``archiver …``, and the most memory that it took, MiB."""
    process = subprocess.Popen([sys.executable, "-m", "archiver", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
        # Not ru_maxrss: it counts what this process had when it forked.
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak = max(peak, next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0))
        time.sleep(0.02)
    process.returncode = os.waitstatus_to_exitcode(ended[1])
    if process.returncode:
        raise RuntimeError(f"archiver {arguments[2]} ended with {process.returncode}")
    return ended[2].ru_utime + ended[2].ru_stime, peak >> 10
