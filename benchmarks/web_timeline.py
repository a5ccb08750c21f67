"""``web.timeline``: milliseconds until the timeline page has drawn a long journal, beside one that has little else.

    python -m benchmarks.web_timeline [changes]

The journals are those of ``log.window``, with history files, as `archiver maintain --history` writes them. `archiver web` is started anew
each time, so nothing is counted yet, and a browser opens the address that it prints. Value: from when the browser sets out, by its own
clock, until all changes are counted and drawn, median of three; gaps are looked for behind that. Beside it: the most memory that the server
took by then, MiB, and its CPU seconds, those of its start among them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser

from benchmarks.capturing import quiet, scratch
from benchmarks.child import archiver
from benchmarks.log_window import CHANGES, SHORT, forge
from benchmarks.report import emit
from tests.servers import browser as browsers

_DRAWN = """() => {
  const text = document.getElementById("state").textContent;
  return text.includes("one bar is") && !text.includes("Still counting") ? [performance.now(), text] : null;
}"""


class Drawn(NamedTuple):
    """One page."""

    milliseconds: float
    memory: int
    cpu: float


def drawn(browser: Browser, folder: Path, changes: int) -> Drawn:
    """The one that took the middle one of three times."""
    return sorted(_once(browser, folder, changes) for _ in range(3))[1]


def _once(browser: Browser, folder: Path, changes: int) -> Drawn:
    command = [sys.executable, "-m", "archiver", "--archive", folder.as_uri(), "web"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            page = browser.new_page(viewport={"width": 1080, "height": 800})
            page.set_default_timeout(600_000)
            page.goto(address, wait_until="commit")
            milliseconds, told = page.wait_for_function(_DRAWN, polling="raf").json_value()
            status = Path(f"/proc/{server.pid}/status").read_text()
            stat = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
            page.close()
            assert told.startswith(f"{changes:,} changes".replace(",", "\u00a0")), told
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
    memory = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) >> 10
    return Drawn(milliseconds, memory, (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK"))


def main(changes: int) -> int:
    """1 where there is no browser, and none can be installed."""
    if code := browsers.main():
        return code
    quiet()
    with scratch() as folder:
        for name, many in (("long", changes), ("short", SHORT)):
            forge(folder / name, many)
            archiver("--archive", (folder / name).as_uri(), "maintain", "--history", "--json")
        with browsers.browsing() as browser:
            # The first page of a browser takes longer than those after it.
            _once(browser, folder / "short", SHORT)
            found, peer = drawn(browser, folder / "long", changes), drawn(browser, folder / "short", SHORT)
    emit(
        "web.timeline",
        found.milliseconds,
        "ms",
        peer=f"of a journal of {SHORT} changes",
        peer_value=peer.milliseconds,
        less_is_better=True,
        changes=changes,
        memory_mib=found.memory,
        peer_memory_mib=peer.memory,
        cpu_seconds=round(found.cpu, 2),
        peer_cpu_seconds=round(peer.cpu, 2),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else CHANGES))
