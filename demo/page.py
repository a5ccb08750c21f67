"""The timeline page of what the demo leaves, for as long as somebody looks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def page(config: Path) -> Iterator[str]:
    """Its address; empty where it could not be served. It ends with the block."""
    command = [sys.executable, "-m", "archiver", "-c", str(config), "web"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()
            server.wait()
