"""An archiver that is killed between an announcement and its look at the catalog: every command says what is not known, with its exit code."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from archiver.capture.postgres.session.schema_dump import find_tools
from tests.integration.service.rig import captured, create_table, database_source
from tests.servers.archiver import Archiver

pytestmark = pytest.mark.postgres(18)

FORGED = """SELECT pg_logical_emit_message(true, 'archiver/ddl', '{"tag":"ALTER TABLE","objects":[]}')"""


class Programs:
    """Client programs of which pg_dump does not come back while it is ``held``: looks at the catalog begin and never end."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.held = folder / "bin", folder / "held"
        real = find_tools(18_00_00).bin
        self.folder.mkdir()
        (self.folder / "pg_restore").symlink_to(real / "pg_restore")
        script = self.folder / "pg_dump"
        script.write_text(
            f'#!/bin/sh\nif [ -e {self.held} ] && [ "$1" != --version ]; then echo $$ >> {self.held}; exec sleep 600; fi\nexec {real}/pg_dump "$@"\n'
        )
        script.chmod(0o755)

    def begun(self) -> bool:
        return bool(self.held.read_text())

    def end(self) -> None:
        for pid in self.held.read_text().split() if self.held.exists() else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    made = Programs(tmp_path)
    yield made
    made.end()


def test_a_change_that_was_announced_and_not_looked_at(database: str, tmp_path: Path, programs: Programs) -> None:
    """Restore, drill, window and status, until the archiver is there again. What anybody sent costs nobody a restore."""
    create_table(database)
    settings = {"db": database_source(database, pg_bin=str(programs.folder), poll_seconds=600)}
    with Archiver(tmp_path, settings, serve=True) as archiver:
        archiver.start()
        captured(archiver, "db", database)
        archiver.wait(lambda: not any("schema" in each for each in archiver.live_source("db")["warnings"]), "the schema is not read")
        # Nothing looks any more: the next round comes with an announcement.
        programs.held.touch()
        run(database, "CREATE VIEW unseen AS SELECT 1 AS one")
        archiver.wait(programs.begun, "no look began")
        captured(archiver, "db", database)
        archiver.kill()
        restored = archiver.call("restore", "--at", "latest", "--to", str(tmp_path / "gap"))
        assert (restored.returncode, "CREATE VIEW public.unseen" in restored.stderr) == (3, True), restored
        planned = json.loads(archiver.call("restore", "--at", "latest", "--to", str(tmp_path / "no"), "--dry-run", "--json").stdout)
        assert [gap["reason"] for gap in planned["sources"][0]["plan"]["gaps"]] == ["schema_uncertain"]
        assert archiver.call("drill", "--at", "latest").returncode == 3
        [line] = json.loads(archiver.call("status", "--offline", "--json").stdout)["sources"]
        assert (line["unknown_since"] is not None, "CREATE VIEW" in line["problem"]) == (True, True)
        [window] = json.loads(archiver.call("window", "--json").stdout)["sources"]
        assert [(gap["what"], gap["reason"], gap["to_time"]) for gap in window["gaps"]] == [("schema", "schema_uncertain", None)]
        programs.end()
        programs.held.unlink()
        archiver.start()
        archiver.wait(lambda: restores(archiver, tmp_path / "seen") == 0, "the view was not found")
        [window] = json.loads(archiver.call("window", "--json").stdout)["sources"]
        assert None not in [gap["to_time"] for gap in window["gaps"]]
        # A message that anybody sent, right before a stop that cannot look.
        run(database, FORGED)
        captured(archiver, "db", database)
        archiver.kill()
        forged = archiver.call("restore", "--at", "latest", "--to", str(tmp_path / "forged"))
        assert forged.returncode == 0, forged


def restores(archiver: Archiver, folder: Path) -> int:
    return archiver.call("restore", "--at", "latest", "--to", str(folder), "--overwrite").returncode


def run(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as session:
        session.execute(statement.encode())
