"""What is or was captured is no target: whichever of the archive's systems it is, whatever it is called now, and before it is captured at all."""

from __future__ import annotations

import time
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from archiver.clock import SystemClock, to_text
from tests.integration.service.rig import captured, create_table, database_source, write
from tests.servers.archiver import Archiver
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.postgres(18)


def rows(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        found = connection.execute("SELECT count(*) FROM note").fetchone()
    assert found is not None
    return int(found[0])


@pytest.fixture
def moved(database: str, target_database: str, tmp_path: Path) -> tuple[Archiver, str]:
    """An archive whose source went over to another database, which has a row; and a point from before."""
    create_table(database)
    with Archiver(tmp_path, {"db": database_source(database)}, serve=True) as archiver:
        archiver.start()
        captured(archiver, "db", database)
        time.sleep(2)
        assert archiver.stop() == 0
    point = to_text(SystemClock().now() - 1_000_000)
    create_table(target_database)
    write(target_database)
    with Archiver(tmp_path, {"db": database_source(target_database, adopt_new_system=True, slot="archiver_moved")}, serve=True) as archiver:
        before = archiver.source("db")["checkpoint"]
        archiver.start()
        archiver.wait(lambda: (archiver.live_source("db").get("checkpoint") or 0) > before, "no new baseline")
        assert archiver.stop() == 0
    return archiver, point


def test_every_system_that_the_journal_named_is_its_own_source(moved: tuple[Archiver, str], database: str, target_database: str) -> None:
    """After ``adopt_new_system`` neither the database of today nor the one of then is restored into, at any point, with any permission."""
    archiver, point = moved
    for at in (point, "latest"):
        for target in (target_database, database):
            done = archiver.call("restore", "--at", at, "--to", target, "--overwrite", "--allow-gaps")
            assert (done.returncode, "captured database itself" in done.stderr) == (3, True), (at, done.stderr)
    assert rows(target_database) == 1
    plan = archiver.call("restore", "--at", point, "--to", target_database, "--dry-run", "--overwrite")
    assert "captured database itself" in plan.stdout
    assert plan.returncode == 3, "a dry run exits as the restore would"


def test_a_renamed_source_is_known_by_its_slot(postgres: PostgresServer, tmp_path: Path) -> None:
    """ALTER DATABASE … RENAME does not make a target of it."""
    with postgres.database() as name:
        create_table(postgres.dsn(name))
        with Archiver(tmp_path, {"db": database_source(postgres.dsn(name))}, serve=True) as archiver:
            archiver.start()
            captured(archiver, "db", postgres.dsn(name))
            assert archiver.stop() == 0
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        with postgres.connect() as admin:
            admin.execute(rename.format(sql.Identifier(name), sql.Identifier(f"{name}_old")))
        try:
            done = archiver.call("restore", "--at", "latest", "--to", postgres.dsn(f"{name}_old"), "--overwrite")
            assert (done.returncode, "captured database itself" in done.stderr) == (3, True), done.stderr
        finally:
            with postgres.connect() as admin:
                admin.execute(rename.format(sql.Identifier(f"{name}_old"), sql.Identifier(name)))


def test_what_the_settings_name_is_no_target(database: str, target_database: str, tmp_path: Path) -> None:
    """A database that is configured and was never captured yet; one that does not answer is no reason against a restore."""
    create_table(database)
    with Archiver(tmp_path, {"db": database_source(database)}, serve=True) as archiver:
        archiver.start()
        captured(archiver, "db", database)
        assert archiver.stop() == 0
    both = Archiver(tmp_path, {"db": database_source(database), "next": database_source(target_database)}, name="both")
    done = both.call("restore", "--at", "latest", "--source", "db", "--to", target_database)
    assert (done.returncode, "captured database itself" in done.stderr) == (3, True), done.stderr
    away = Archiver(tmp_path, {"db": database_source("postgresql://nobody@127.0.0.1:1/x")}, name="away")
    done = away.call("restore", "--at", "latest", "--source", "db", "--to", target_database)
    assert done.returncode == 0, done.stderr
    assert rows(target_database) == rows(database)


def test_no_drill_runs_on_a_captured_server(moved: tuple[Archiver, str], postgres: PostgresServer) -> None:
    """Functions that a drill restores would run beside the live data: exit code 3, the step says why, nothing is made."""
    archiver, _ = moved
    done = archiver.call("drill", "--scratch-dsn", postgres.dsn())
    assert (done.returncode, "captured" in done.stderr) == (3, True), done.stderr
    with postgres.connect() as admin:
        found = admin.execute("SELECT count(*) FROM pg_database WHERE datname LIKE 'archiver\\_drill%'").fetchone()
    assert found == (0,)
