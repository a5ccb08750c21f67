"""``python -m fidelity`` (``make fidelity``): capture a database while SQL changes it, restore it at many points, compare each.

Without arguments: our own torture database, on every version of the server that can be started. ``--sql`` runs any folder of SQL instead;
``--dsn`` uses a server of yours, in a database that is there already. What is in the folder's ``before`` runs before capture begins.
Statements that fail at the source are counted and passed by, as in psql. Exit code 1 when a point differs in what its plan did not say.
"""

from __future__ import annotations

import argparse
import signal
import sys
from functools import partial
from pathlib import Path

from psycopg import conninfo

from fidelity.database import Outcome, Trial, fresh_database
from fidelity.feeding import scripts
from fidelity.report import lines
from tests.servers.postgres import PostgresServer, available_versions, programs

TORTURE = Path(__file__).parent / "torture"
OPTIONS = {"max_slot_wal_keep_size": "8GB", "max_prepared_transactions": "10"}


def main() -> int:
    """0: every point was equal, or differed as its plan said."""
    parser = argparse.ArgumentParser(prog="python -m fidelity", description=__doc__)
    parser.add_argument("--sql", type=Path, help="folder of .sql files, run in the order of their names; default: our own torture database")
    parser.add_argument("--schedule", type=Path, help="order of the files, as PostgreSQL's test suite writes it (test: a b c)")
    parser.add_argument(
        "--dsn", default="", help="a database to capture; its server takes the restored ones too. With --sql the SQL runs there"
    )
    parser.add_argument("--points", type=int, default=10, help="how many points to restore")
    parser.add_argument("--seconds", type=float, default=60.0, help="with --dsn and without --sql: how long to look while others write")
    parser.add_argument("--versions", type=int, nargs="*", default=available_versions(), help="server versions to start, without --dsn")
    parser.add_argument("--hasty", action="store_true", help="take points at once, not when the archiver has copied what changed")
    parser.add_argument("--errors", action="store_true", help="print what failed at the source")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = None if arguments.dsn and not arguments.sql else arguments.sql or TORTURE
    if arguments.dsn:
        name = conninfo.conninfo_to_dict(arguments.dsn).get("dbname", "?")
        trial = Trial(f"database {name}", arguments.dsn, _newest(), partial(fresh_database, arguments.dsn), settle=not arguments.hasty)
        made = trial.run(
            scripts(folder, arguments.schedule) if folder else [],
            arguments.points,
            before=scripts(folder / "before") if folder else [],
            watch_seconds=arguments.seconds,
        )
        return _tell(made, errors=arguments.errors)
    worst = 0
    for version in arguments.versions:
        worst |= _tell(
            on_version(version, folder or TORTURE, arguments.points, schedule=arguments.schedule, settle=not arguments.hasty),
            errors=arguments.errors,
        )
    return worst


def on_version(version: int, folder: Path, points: int, *, schedule: Path | None = None, settle: bool = True) -> Outcome:
    """A trial on a server of its own, in a database that is called ``regression``, as suites expect it."""
    with PostgresServer.start(version, OPTIONS) as server:
        server.execute("CREATE DATABASE regression TEMPLATE template0")
        dsn = server.dsn("regression")
        trial = Trial(f"PostgreSQL {version}", dsn, server.bin, partial(fresh_database, server.dsn()), settle=settle)
        return trial.run(scripts(folder, schedule), points, before=scripts(folder / "before"))


def _newest() -> Path:
    """Client programs that can read every server."""
    return programs(max(available_versions()))


def _tell(outcome: Outcome, *, errors: bool) -> int:
    for line in lines(outcome, errors=errors):
        sys.stdout.write(line + "\n")
    sys.stdout.flush()
    return 0 if outcome.ok else 1


if __name__ == "__main__":
    sys.exit(main())
