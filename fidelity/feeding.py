"""SQL scripts given to psql, with stops in between."""

from __future__ import annotations

import contextlib
import os
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
from psycopg import sql

from fidelity.patience import NAME, Patience, Watch
from fidelity.statements import cut


class Script:
    """One file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pieces = cut(path.read_bytes().decode("latin-1"))


def scripts(folder: Path, schedule: Path | None = None) -> list[Script]:
    """Files of a folder in the order of their names, or as a schedule of PostgreSQL's suite names them (``test: a b c``)."""
    if schedule is None:
        found = sorted(folder.glob("*.sql"))
    else:
        lines = [line.partition("test:")[2].split() for line in schedule.read_text().splitlines() if line.startswith("test:")]
        found = [folder / f"{name}.sql" for line in lines for name in line if (folder / f"{name}.sql").exists()]
    return [Script(path) for path in found]


class Feeder:
    """Runs scripts in psql, and has stops between their statements, where psql has nothing pending and no transaction open."""

    def __init__(self, dsn: str, bin_folder: Path, patience: Patience) -> None:
        self._dsn, self._bin, self._patience = dsn, bin_folder, patience
        self._due: list[int] = []
        """Numbers of pieces behind which the coming stops should be."""
        self.errors: list[str] = []
        """Of statements that failed; the next one ran, as in a script of psql."""
        self.pieces = 0

    def feed(self, all_scripts: Sequence[Script], stops: int) -> Iterator[str]:
        """Run all scripts, each in a session of its own; give a label at ``stops`` places, evenly spread, the last behind everything."""
        total = sum(len(script.pieces) for script in all_scripts)
        self._due = [self.pieces + total * at // stops for at in range(1, stops)]
        there = set(self._prepared())
        for script in all_scripts:
            yield from self._one(script)
        self._roll_back(there)
        yield "the end"

    def before(self, all_scripts: Sequence[Script]) -> None:
        """Scripts without a stop."""
        for script in all_scripts:
            for _ in self._one(script):
                pass

    def _one(self, script: Script) -> Iterator[str]:
        env = {**self._suite(script), **os.environ, "PGAPPNAME": NAME, "PGCLIENTENCODING": os.environ.get("PGCLIENTENCODING", "UTF8")}
        command: list[str | Path] = [
            self._bin / "psql",
            "--no-psqlrc",
            "--quiet",
            "--set=ON_ERROR_STOP=0",
            f"--dbname={self._dsn}",
            "--file=-",
        ]
        with (
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd=script.path.parent,
                env=env,
                start_new_session=True,
            ) as psql,
            Watch(self._dsn, psql, self._patience) as watch,
        ):
            for number, piece in enumerate(script.pieces):
                if not self._give(psql, piece):
                    break
                self.pieces += 1
                if self._due and self.pieces >= self._due[0] and self._reached(psql) and self._idle():
                    self._due = self._due[1:]
                    with watch.paused():
                        yield f"{script.path.name}, statement {number + 1}"
            if not self._reached(psql) and not watch.ended:
                self.errors.append(
                    f"{script.path.name}: psql ended in it (an error that stops it, a lost connection, \\q): what follows did not run"
                )
            assert psql.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # a script may end psql, and what it was given last is still here
                psql.stdin.close()
            self._read(psql, b"")
        self.errors += [f"{script.path.name}: {note}" for note in watch.notes]

    def _suite(self, script: Script) -> dict[str, str]:
        """What PostgreSQL's own suite asks the environment for: where its data are, and the server's libraries."""
        return {
            "PG_ABS_SRCDIR": str(script.path.resolve().parent.parent),
            "PG_LIBDIR": str(self._bin.parent / "lib"),
            "PG_DLSUFFIX": ".so",
        }

    def _give(self, psql: subprocess.Popen[bytes], text: str) -> bool:
        """Whether psql still reads: a script may tell it to end."""
        assert psql.stdin is not None
        try:
            psql.stdin.write(text.encode("latin-1"))
            psql.stdin.flush()
        except BrokenPipeError:
            return False
        return True

    def _reached(self, psql: subprocess.Popen[bytes]) -> bool:
        """Wait until psql is through with all that it was given."""
        mark = uuid.uuid4().hex
        return self._give(psql, f"\n\\warn {mark}\n") and self._read(psql, mark.encode())

    def _read(self, psql: subprocess.Popen[bytes], mark: bytes) -> bool:
        assert psql.stderr is not None
        for line in psql.stderr:
            if mark and line.strip() == mark:
                return True
            if b"ERROR: " in line or b"FATAL: " in line:
                self.errors.append(line.decode("utf-8", "replace").strip())
        return False

    def _idle(self) -> bool:
        """Whether no session of the scripts has a transaction open, nor a locked and prepared one waits."""
        with psycopg.connect(self._dsn, autocommit=True) as session:
            row = session.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND state <> 'idle' AND datname = current_database()",
                [NAME],
            ).fetchone()
            return row == (0,) and not self._locking(session)

    def _locking(self, session: psycopg.Connection) -> bool:
        """Whether a prepared transaction keeps a table from being read."""
        row = session.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database"
            " WHERE pid IS NULL AND mode = 'AccessExclusiveLock' AND d.datname = current_database()"
        ).fetchone()
        return row != (0,)

    def _prepared(self) -> list[str]:
        with psycopg.connect(self._dsn, autocommit=True) as session:
            rows = session.execute("SELECT gid FROM pg_prepared_xacts WHERE database = current_database() ORDER BY prepared").fetchall()
        return [str(row[0]) for row in rows]

    def _roll_back(self, there: set[str]) -> None:
        """End what scripts prepared and left while it keeps a table locked: nothing could be read beside it."""
        with psycopg.connect(self._dsn, autocommit=True) as session:
            for name in self._prepared():
                if name not in there and self._locking(session):
                    session.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(name)))
                    self.errors.append(f"a prepared transaction was left with a table locked, and was rolled back: {name}")
