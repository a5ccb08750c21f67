"""``python -m archiver`` and the ``archiver`` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with a documented code (docs/reference/errors.md)."""
    from archiver.cli import streams
    from archiver.cli.main import run

    streams.install()
    sys.exit(run())


if __name__ == "__main__":
    main()
