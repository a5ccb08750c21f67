"""One database: captured while scripts change it, restored at the points where they stopped, compared with what was there."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from fidelity.differences import Difference, differences, is_said
from fidelity.feeding import Feeder, Script
from fidelity.fingerprint import Fingerprint, take
from fidelity.traces import Traces
from tests.servers.archiver import Archiver, wait_until_durable

SOURCE = "db"
_SETTLE_SECONDS = 60.0
_CALM = 6


@dataclass
class Point:
    """A moment at the source, and what became of it."""

    label: str
    lsn: str
    fingerprint: Fingerprint
    gaps: list[str] = field(default_factory=list)
    """What the plan calls not known."""
    said: list[Difference] = field(default_factory=list)
    unsaid: list[Difference] = field(default_factory=list)
    failure: str = ""
    """Why it could not be restored at all."""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Nothing differs that the plan did not say."""
        return not self.failure and not self.unsaid


@dataclass
class Outcome:
    """One run over one server."""

    title: str
    points: list[Point]
    statements: int
    errors: list[str]
    roles: list[str] = field(default_factory=list)
    """Roles that the SQL made and that are still at the server."""

    @property
    def ok(self) -> bool:
        """Every point came back as it was, or as the plan said."""
        return bool(self.points) and all(point.ok for point in self.points)


class Trial:
    """Captures the database behind ``dsn``; ``fresh`` gives empty databases at a server where it can be restored."""

    def __init__(self, title: str, dsn: str, bin_folder: Path, fresh: Callable[[], AbstractContextManager[str]], *, settle: bool) -> None:
        self._title, self._dsn, self._bin, self._fresh, self._settle = title, dsn, bin_folder, fresh, settle
        self._slot = "archiver_fidelity"
        self._points: list[Point] = []

    def run(self, scripts: list[Script], stops: int, *, before: list[Script] | None = None, watch_seconds: float = 0.0) -> Outcome:
        """Run ``before``, capture while ``scripts`` run (without any: while others write for so many seconds), restore every point."""
        with tempfile.TemporaryDirectory(prefix="archiver-fidelity-") as folder:
            settings = {
                "dsn": self._dsn,
                "slot": self._slot,
                "poll_seconds": 1,
                "insert_only_snapshot_seconds": 1,
                "allow_unlimited_wal": True,
            }
            with (
                Traces(self._dsn, self._slot) as traces,
                Archiver(Path(folder), {SOURCE: {"postgres": settings}}, serve=True) as archiver,
            ):
                feeder = Feeder(self._dsn, self._bin, stops, lambda label: self._stop(archiver, label))
                feeder.before(before or [])
                archiver.start()
                archiver.wait_for_baseline(SOURCE, 600)
                if scripts:
                    feeder.feed(scripts)
                else:
                    for number in range(stops):
                        time.sleep(watch_seconds / stops)
                        self._stop_among_others(f"look {number + 1}")
                # A transaction behind the last point, so that the journal surely passes it.
                with psycopg.connect(self._dsn, autocommit=True) as session:
                    session.execute("SELECT pg_logical_emit_message(true, 'fidelity', 'end')")
                wait_until_durable(archiver, SOURCE, self._dsn, 300)
                self._settled(archiver)
                archiver.stop()
                for point in self._points:
                    self._restore(archiver, point)
        return Outcome(self._title, self._points, feeder.pieces, feeder.errors, traces.new_roles)

    def _stop(self, archiver: Archiver, label: str) -> None:
        """Nobody writes now: look at everything."""
        if self._settle:
            wait_until_durable(archiver, SOURCE, self._dsn, 300)
            self._settled(archiver)
        with psycopg.connect(self._dsn, autocommit=True) as session:
            row = session.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
        assert row is not None
        self._points.append(Point(label, str(row[0]), self._look()))

    def _stop_among_others(self, label: str) -> None:
        """Others write: look through a snapshot that a slot says the position of."""
        with psycopg.connect(self._dsn, autocommit=True, replication="database") as replication:
            # Parameters are not spoken there.
            row = replication.execute(b"CREATE_REPLICATION_SLOT fidelity_look TEMPORARY LOGICAL pgoutput (SNAPSHOT 'export')").fetchone()
            assert row is not None
            self._points.append(Point(label, str(row[1]), self._look(str(row[2]))))

    def _look(self, snapshot: str = "") -> Fingerprint:
        return take(self._dsn, self._bin, (f"{self._slot}_key", f"{self._slot}_insert"), snapshot)

    def _settled(self, archiver: Archiver) -> None:
        """Wait until the archiver has read the schema as it is, and copied the tables that need it; not for ever."""
        deadline, calm = time.monotonic() + _SETTLE_SECONDS, 0
        while calm < _CALM and time.monotonic() < deadline:
            warnings = archiver.live_source(SOURCE).get("warnings", ["it does not answer"])
            calm = 0 if any("wait to be copied" in text or text.startswith(("schema:", "it does")) for text in warnings) else calm + 1
            time.sleep(0.5)

    def _restore(self, archiver: Archiver, point: Point) -> None:
        began = time.monotonic()
        with self._fresh() as target:
            where = ["--at", point.lsn, "--to", target, "--json"]
            dry = archiver.call("restore", *where, "--allow-gaps", "--dry-run", timeout=900)
            done = archiver.call("restore", *where, "--allow-gaps", "--left-out", str(archiver.folder), timeout=3600)
            point.seconds = time.monotonic() - began
            if not all(each.stdout.strip().startswith("{") for each in (dry, done)):
                point.failure = (done.stderr or done.stdout).strip()[-600:] or f"exit code {done.returncode}"
                return
            plan = json.loads(dry.stdout)["sources"][0]["plan"]
            report = json.loads(done.stdout)["sources"][0]["report"]
            point.gaps = [f"{gap['what']}: {gap['reason']} {gap.get('detail', '')}" for gap in plan.get("gaps", [])]
            texts = list(_texts(plan, report))
            for difference in differences(point.fingerprint, take(target, self._bin)):
                (point.said if is_said(difference, texts) else point.unsaid).append(difference)


def _texts(plan: dict[str, Any], report: dict[str, Any]) -> Iterator[str]:
    """What plan and report say of what will not be as it was."""
    yield from plan.get("approximations", [])
    yield from plan.get("not_included", [])
    yield from (gap["what"] for gap in plan.get("gaps", []))
    yield from (f"{table['schema']}.{table['name']} {table['note']}" for table in plan.get("tables", []) if table.get("note"))
    yield from plan.get("materialized", [])
    yield from report.get("notes", [])
    yield from (f"{each['name']}: {each['reason']}" for each in report.get("left_out", []))


@contextmanager
def fresh_database(dsn: str) -> Iterator[str]:
    """An empty database at the server behind ``dsn``, dropped afterwards."""
    name = f"fidelity_{time.monotonic_ns():x}"
    with psycopg.connect(dsn, autocommit=True) as session:
        session.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
        try:
            yield psycopg.conninfo.make_conninfo(dsn, dbname=name)
        finally:
            session.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
