"""Points that are an LSN, in an archive of several databases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.integration.service.rig import captured, create_table, database_source
from tests.servers.archiver import Archiver
from tests.servers.postgres import PostgresServer


@pytest.mark.postgres(18)
def test_an_lsn_means_something_on_one_server_only(database: str, start_postgres: Callable[..., PostgresServer], tmp_path: Path) -> None:
    """Two servers have two logs, and the same LSN is another moment there: refused, in restores and drills alike."""
    far = start_postgres(18, own_system=True).dsn()
    sources = {"one": database, "far": far}
    for dsn in sources.values():
        create_table(dsn)
    with Archiver(tmp_path, {name: database_source(dsn) for name, dsn in sources.items()}, serve=True) as archiver:
        archiver.start()
        for name, dsn in sources.items():
            captured(archiver, name, dsn)
        with psycopg.connect(database, autocommit=True) as connection:
            at = str(connection.execute("SELECT pg_current_wal_insert_lsn()").fetchall()[0][0])
        captured(archiver, "one", database)
        assert archiver.stop() == 0
    done = archiver.call("restore", "--at", at, "--dry-run")
    assert done.returncode == 2
    assert "one server" in done.stderr
    assert "--source" in done.stderr
    assert "--at TIME" in done.stderr
    done = archiver.call("drill", "--at", at)
    assert done.returncode == 2
    assert "one server" in done.stdout + done.stderr
    for words in (("--at", at, "--source", "one"), ("--at", "latest")):
        done = archiver.call("restore", *words, "--dry-run")
        assert done.returncode == 0, done.stderr
