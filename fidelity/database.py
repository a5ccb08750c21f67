"""A database as the subject of a trial: SQL scripts change it, or others do; it is restored into fresh databases."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from fidelity.feeding import Feeder, Script
from fidelity.fingerprint import Fingerprint, take
from fidelity.outcome import Outcome, Point
from fidelity.patience import Patience
from fidelity.traces import Traces
from fidelity.trial import Unusable
from tests.servers.archiver import Archiver, wait_until_durable

SOURCE = "db"
_SETTLE_SECONDS = 60.0
_CALM = 6


@dataclass(frozen=True)
class FreshDatabase:
    """An empty database at a server where a point can be restored."""

    address: str
    bin_folder: Path

    def fingerprint(self) -> Fingerprint:
        """What is in it now."""
        return take(self.address, self.bin_folder)


@dataclass(frozen=True)
class FreshFolder:
    """A folder for the SQL of a point, and an empty database that psql loads it into."""

    address: str
    database: FreshDatabase

    def fingerprint(self) -> Fingerprint:
        """What is in the database when psql is through."""
        script = Path(self.address, "restore.sql")
        psql: list[str | Path] = [
            self.database.bin_folder / "psql",
            "--no-psqlrc",
            "--quiet",
            f"--dbname={self.database.address}",
            f"--file={script}",
        ]
        done = subprocess.run(psql, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        if done.returncode:
            raise Unusable(f"psql does not load the folder: {done.stderr.decode(errors='replace').strip()[-600:]}")
        return self.database.fingerprint()


class Database:
    """The database behind ``dsn``: ``before`` runs, then capture begins and ``scripts`` run. Without scripts others write for ``seconds``.

    ``server`` is a DSN of the server that takes the restored databases; ``folders``: through folders of SQL. ``settle``: points are taken
    when capture has all that changed.
    """

    def __init__(
        self,
        title: str,
        dsn: str,
        bin_folder: Path,
        server: str,
        scripts: Sequence[Script],
        *,
        before: Sequence[Script] = (),
        seconds: float = 0.0,
        settle: bool = True,
        folders: bool = False,
        patience: Patience | None = None,
    ) -> None:
        self._title, self._dsn, self._bin, self._server, self._settle = title, dsn, bin_folder, server, settle
        self._folders = folders
        self._scripts, self._before, self._seconds = scripts, before, seconds
        self._slot = "archiver_fidelity"
        self._feeder = Feeder(dsn, bin_folder, patience or Patience())
        self._traces = Traces(dsn, self._slot)

    def around(self) -> AbstractContextManager[object]:
        """A slot that nobody reads would keep the server's log for ever."""
        return self._traces

    def sources(self) -> dict[str, Any]:
        """One source, copied often: the trial is short."""
        settings = {
            "dsn": self._dsn,
            "slot": self._slot,
            "poll_seconds": 1,
            "insert_only_snapshot_seconds": 1,
            "allow_unlimited_wal": True,
        }
        return {SOURCE: {"postgres": settings}}

    def prepare(self) -> None:
        """What is there already when capture begins."""
        self._feeder.before(self._before)

    def captured(self, archiver: Archiver) -> None:
        """Once the baseline is whole."""
        archiver.wait_for_baseline(SOURCE, 600)

    def changes(self, archiver: Archiver, stops: int) -> Iterator[Point]:
        """Points where scripts stopped, or among the writes of others."""
        if self._scripts:
            for label in self._feeder.feed(self._scripts, stops):
                yield self._still(archiver, label)
        else:
            for number in range(stops):
                time.sleep(self._seconds / stops)
                yield self._among_others(f"look {number + 1}")
        # A transaction behind the last point, so that the journal surely passes it.
        with psycopg.connect(self._dsn, autocommit=True) as session:
            session.execute("SELECT pg_logical_emit_message(true, 'fidelity', 'end')")
        wait_until_durable(archiver, SOURCE, self._dsn, 300)
        self._settled(archiver)

    @contextmanager
    def fresh(self) -> Iterator[FreshDatabase | FreshFolder]:
        """Dropped afterwards."""
        with fresh_database(self._server, like=self._dsn) as dsn, tempfile.TemporaryDirectory(prefix="archiver-fidelity-") as folder:
            database = FreshDatabase(dsn, self._bin)
            yield FreshFolder(folder, database) if self._folders else database

    def texts(self, plan: dict[str, Any], report: dict[str, Any]) -> Iterator[str]:
        """Each names what it speaks of."""
        yield from plan.get("approximations", [])
        yield from plan.get("not_included", [])
        yield from (gap["what"] for gap in plan.get("gaps", []))
        yield from (f"{table['schema']}.{table['name']} {table['note']}" for table in plan.get("tables", []) if table.get("note"))
        yield from plan.get("materialized", [])
        yield from report.get("notes", [])
        yield from (f"{each['name']}: {each['reason']}" for each in report.get("left_out", []))

    def gaps(self, plan: dict[str, Any]) -> list[str]:
        """What is not known, and why."""
        return [f"{gap['what']}: {gap['reason']} {gap.get('detail', '')}" for gap in plan.get("gaps", [])]

    def outcome(self, points: list[Point]) -> Outcome:
        """With the roles that stay at the server."""
        return Outcome(self._title, points, self._feeder.pieces, self._feeder.errors, self._traces.new_roles)

    def _still(self, archiver: Archiver, label: str) -> Point:
        """Nobody writes now: look at everything."""
        if self._settle:
            wait_until_durable(archiver, SOURCE, self._dsn, 300)
            self._settled(archiver)
        with psycopg.connect(self._dsn, autocommit=True) as session:
            row = session.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
        assert row is not None
        return Point(label, str(row[0]), self._look())

    def _among_others(self, label: str) -> Point:
        """Others write: look through a snapshot that a slot says the position of."""
        with psycopg.connect(self._dsn, autocommit=True, replication="database") as replication:
            # Parameters are not spoken there.
            row = replication.execute(b"CREATE_REPLICATION_SLOT fidelity_look TEMPORARY LOGICAL pgoutput (SNAPSHOT 'export')").fetchone()
            assert row is not None
            return Point(label, str(row[1]), self._look(str(row[2])))

    def _look(self, snapshot: str = "") -> Fingerprint:
        return take(self._dsn, self._bin, (f"{self._slot}_key", f"{self._slot}_insert"), snapshot)

    def _settled(self, archiver: Archiver) -> None:
        """Wait until the archiver has read the schema as it is, and copied the tables that need it; not for ever."""
        deadline, calm = time.monotonic() + _SETTLE_SECONDS, 0
        while calm < _CALM and time.monotonic() < deadline:
            warnings = archiver.live_source(SOURCE).get("warnings", ["it does not answer"])
            calm = 0 if any("wait to be copied" in text or text.startswith(("schema:", "it does")) for text in warnings) else calm + 1
            time.sleep(0.5)


@contextmanager
def fresh_database(dsn: str, *, like: str) -> Iterator[str]:
    """An empty database at the server behind ``dsn``, in the encoding of ``like``, dropped afterwards."""
    name = f"fidelity_{time.monotonic_ns():x}"
    with psycopg.connect(like, autocommit=True) as session:
        row = session.execute("SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()").fetchone()
    assert row is not None
    # Any encoding goes with these, and text in another one would have other checksums.
    other = "" if row[0] == "UTF8" else f" ENCODING '{row[0]}' LC_COLLATE 'C' LC_CTYPE 'C'"
    with psycopg.connect(dsn, autocommit=True) as session:
        session.execute(f"CREATE DATABASE {name} TEMPLATE template0{other}".encode())
    try:
        yield psycopg.conninfo.make_conninfo(dsn, dbname=name)
    finally:
        with psycopg.connect(dsn, autocommit=True) as session:
            session.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
