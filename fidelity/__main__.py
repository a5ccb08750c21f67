"""``python -m fidelity`` (``make fidelity``): capture a database while SQL changes it, restore it at many points, compare each.

Without arguments: our own torture database, on every version of the server that can be started. ``--sql`` runs any folder of SQL instead;
``--dsn`` uses a server of yours, in a database that is there already. What is in the folder's ``before`` runs before capture begins.
Statements that fail at the source are counted and passed by, as in psql; those that run too long are cancelled, and scripts that do are
stopped. Exit code 1 when a point differs in what its plan did not say.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

import psycopg
from psycopg import conninfo

from fidelity.database import Database
from fidelity.feeding import scripts
from fidelity.outcome import Outcome
from fidelity.patience import Patience
from fidelity.report import lines
from fidelity.trial import Trial
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
    parser.add_argument("--statement-seconds", type=float, default=120.0, help="a statement that runs longer is cancelled")
    parser.add_argument("--script-seconds", type=float, default=900.0, help="a script that runs longer is stopped")
    parser.add_argument("--folders", action="store_true", help="restore through folders of SQL that psql loads")
    parser.add_argument("--hasty", action="store_true", help="take points at once, not when the archiver has copied what changed")
    parser.add_argument("--errors", action="store_true", help="print what failed at the source")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    patience = Patience(arguments.statement_seconds, arguments.script_seconds)
    folder = None if arguments.dsn and not arguments.sql else arguments.sql or TORTURE
    if why := _missing(folder, arguments.schedule, arguments.dsn, arguments.points):
        parser.error(why)
    if arguments.dsn:
        name = conninfo.conninfo_to_dict(arguments.dsn).get("dbname", "?")
        database = Database(
            f"database {name}",
            arguments.dsn,
            _newest(),
            arguments.dsn,
            scripts(folder, arguments.schedule) if folder else [],
            before=scripts(folder / "before") if folder else [],
            seconds=arguments.seconds,
            settle=not arguments.hasty,
            folders=arguments.folders,
            patience=patience,
        )
        return _tell(Trial(database).run(arguments.points), errors=arguments.errors)
    worst = 0
    for version in arguments.versions:
        worst |= _tell(
            on_version(
                version,
                folder or TORTURE,
                arguments.points,
                schedule=arguments.schedule,
                settle=not arguments.hasty,
                folders=arguments.folders,
                patience=patience,
            ),
            errors=arguments.errors,
        )
    return worst


def _missing(folder: Path | None, schedule: Path | None, dsn: str, points: int) -> str:
    """What a trial cannot begin without, and what to do; empty when all is there."""
    if points < 1:
        return "POINTS is at least 1"
    if schedule is not None and not schedule.is_file():
        return f"there is no schedule {schedule}: name a file with lines such as 'test: a b', or leave it out"
    if folder is not None and not scripts(folder, schedule):
        what = f"none of the files that {schedule} names" if schedule else "no .sql file"
        return f"there is {what} in {folder}: name the folder that holds them"
    if not dsn:
        return ""
    try:
        with psycopg.connect(dsn, connect_timeout=10, autocommit=True) as session:
            row = session.execute("SELECT current_setting('wal_level'), current_setting('server_version_num')::int / 10000").fetchone()
    except psycopg.Error as error:
        return f"the database of the DSN does not answer: {str(error).strip()}"
    assert row is not None
    if row[0] != "logical":
        return f"wal_level of that server is {row[0]}: set wal_level = logical and restart it"
    if row[1] > max(available_versions()):
        return f"that server is PostgreSQL {row[1]}, and client programs are here up to {max(available_versions())}"
    return ""


def on_version(
    version: int,
    folder: Path,
    points: int,
    *,
    schedule: Path | None = None,
    settle: bool = True,
    folders: bool = False,
    patience: Patience | None = None,
) -> Outcome:
    """A trial on a server of its own, in a database that is called ``regression``, as suites expect it."""
    with PostgresServer.start(version, OPTIONS) as server:
        server.execute("CREATE DATABASE regression TEMPLATE template0")
        database = Database(
            f"PostgreSQL {version}",
            server.dsn("regression"),
            server.bin,
            server.dsn(),
            scripts(folder, schedule),
            before=scripts(folder / "before"),
            settle=settle,
            folders=folders,
            patience=patience,
        )
        return Trial(database).run(points)


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
