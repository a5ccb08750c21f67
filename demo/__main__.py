"""``python -m demo`` (``make demo``): state is captured, ruined and brought back as it was at one noted second, with proof.

A database and custom resources of a Kubernetes API server, in one journal. The API server is built once; while that takes minutes, the
database half is told alone, and afterwards both together.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from demo.half import Half
from demo.kubernetes import Cluster
from demo.page import page
from demo.postgres import Database
from demo.story import Failed, Story
from tests.servers import controlplane_build


class Building(threading.Thread):
    """The control plane being built in the background; ``wait`` shows how far it is."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._done, self._total = 0, 0
        self._error: BaseException | None = None

    def run(self) -> None:
        """Build; what goes wrong is raised by ``wait``."""

        def progress(done: int, total: int) -> None:
            self._done, self._total = done, total

        try:
            controlplane_build.build(progress)
        except BaseException as error:  # noqa: BLE001 -- raised where somebody waits
            self._error = error

    def wait(self, console: Console) -> None:
        """Return once the binary is there."""
        columns = (TextColumn("building the API server, once"), BarColumn(), TextColumn("{task.completed} of {task.total} packages"))
        with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as shown:
            task = shown.add_task("", total=None)
            while self.is_alive():
                shown.update(task, completed=self._done, total=self._total or None)
                time.sleep(0.5)
        if self._error:
            raise Failed(f"the API server could not be built: {self._error}")


def main() -> int:
    """0 when everything came back; 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--only", choices=["database", "resources"], help="tell one half alone")
    parser.add_argument(
        "--keep",
        action="store_true",
        help="leave the journal, the settings and the log where they are, say where, and serve the timeline page of them until Ctrl-C; the "
        "databases and clusters are stopped all the same",
    )
    arguments = parser.parse_args()
    # A request to end is an exception, so that every server is stopped on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console()
    try:
        if arguments.only == "database":
            return tell([Database()], console, keep=arguments.keep)
        building = Building() if controlplane_build.needed() else None
        if building:
            building.start()
            if not arguments.only:
                console.print("[dim]the API server for the second half is being built, once; here is the database half meanwhile[/]\n")
                if code := tell([Database()], console, keep=False):
                    return code
            building.wait(console)
            console.print("\n[bold]and now both together[/]\n")
        return tell([Cluster()] if arguments.only else [Database(), Cluster()], console, keep=arguments.keep)
    except KeyboardInterrupt:
        console.print("interrupted")
        return 130
    except (Failed, AssertionError) as error:
        console.print(str(error), style="bold red", markup=False)
        return 1


def tell(halves: list[Half], console: Console, *, keep: bool) -> int:
    """Tell one story in a folder of its own and clean up after it."""
    folder = Path(tempfile.mkdtemp(prefix="archiver-demo-"))
    story = Story(halves, folder, console)
    try:
        good = story.tell()
    finally:
        story.close()
        if keep:
            console.print(
                f"journal, settings and log are in {folder}; look with: .venv/bin/archiver -c {folder}/archiver.yaml status --offline"
            )
        else:
            shutil.rmtree(folder, ignore_errors=True)
    if keep:
        show(folder / "archiver.yaml", console)
    return 0 if good else 1


def show(config: Path, console: Console) -> None:
    """Where the page of it is: served while somebody is at the terminal, until they interrupt it; else the command that serves it."""
    if not sys.stdin.isatty() or not config.exists():
        console.print(f"the same as a page, at an address that this prints: .venv/bin/archiver -c {config} web", soft_wrap=True)
        return
    with page(config) as address, suppress(KeyboardInterrupt):
        if address:
            console.print(f"the same as a page, until Ctrl-C: {address}", soft_wrap=True)
            signal.pause()


if __name__ == "__main__":
    sys.exit(main())
