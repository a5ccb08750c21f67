"""``python -m archiver`` and the ``archiver`` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with a documented code (docs/reference/exit-codes.md)."""
    from archiver.cli.main import run

    sys.exit(run())


if __name__ == "__main__":
    main()
