"""``python -m demo`` (``make demo``): state is captured, ruined and brought back as it was at one noted second, with proof."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from demo.postgres import Database
from demo.story import Failed, Story


def main() -> int:
    """0 when everything came back; 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the journal, the settings and the log where they are")
    arguments = parser.parse_args()
    # A request to end is an exception, so that every server is stopped on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console()
    folder = Path(tempfile.mkdtemp(prefix="archiver-demo-"))
    story = Story([Database()], folder, console)
    try:
        return 0 if story.tell() else 1
    except KeyboardInterrupt:
        console.print("interrupted")
        return 130
    except (Failed, AssertionError) as error:
        console.print(f"[bold red]{error}[/]", markup=True)
        return 1
    finally:
        story.close()
        if arguments.keep:
            console.print(f"journal, settings and log are in {folder}; look with: archiver -c {folder}/archiver.yaml status --offline")
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
