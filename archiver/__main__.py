"""``python -m archiver`` and the ``archiver`` command."""

from __future__ import annotations

import os


def main() -> None:
    """Run the command line and end the process with a documented code (docs/reference/errors.md)."""
    from archiver.cli.loading import loading

    with loading():
        from archiver.cli import streams
        from archiver.cli.main import run

    streams.install()
    code = run()
    # The interpreter's own end waits for every thread, and one that asked a dead disk never ends.
    os._exit(code)


if __name__ == "__main__":
    main()
