"""A disk that is full where something is written: said with the place, the documented exit code, and no stack trace."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

from tests.integration.service.rig import create_table, database_source
from tests.servers.archiver import Archiver, wait_until_durable

pytestmark = pytest.mark.postgres(18)


def limited(archiver: Archiver, kilobytes: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command that cannot write a larger file than that. The error differs from that of a full disk in its number alone."""
    program = f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({kilobytes * 1024},) * 2)"
    command = [sys.executable, "-c", f"{program}; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"]
    command += ["-m", "archiver", "-c", str(archiver.config), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_restore_and_a_drill_onto_a_full_disk_end_with_a_documented_code(database: str, tmp_path: Path) -> None:
    """The folder, and the place for temporary files: exit code 4, the place is named; later the same command works."""
    create_table(database)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE wide (id int PRIMARY KEY, note text)")
        connection.execute("INSERT INTO wide SELECT g, repeat(md5(g::text), 30) FROM generate_series(1, 2000) g")
    with Archiver(tmp_path, {"db": database_source(database)}) as archiver:
        archiver.start()
        archiver.wait_for_baseline("db")
        wait_until_durable(archiver, "db", database)
        assert archiver.stop() == 0
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    for kilobytes, arguments, place in (
        (100, ["restore", "--at", "latest", "--to", str(out)], out),
        (1, ["restore", "--at", "latest", "--to", str(tmp_path / "other")], Path(tempfile.gettempdir())),
        (100, ["drill", "--scratch-folder", str(scratch)], scratch),
    ):
        done = limited(archiver, kilobytes, *arguments)
        assert done.returncode == 4, done.stderr
        assert "cannot " in done.stderr
        assert f"{place}" in done.stderr
        assert "Traceback" not in done.stderr
        assert "hint: " in done.stderr
    assert not scratch.exists()
    assert (out / "INCOMPLETE").exists()
    done = archiver.call("restore", "--at", "latest", "--to", str(out), "--overwrite", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sources"][0]["report"]["rows"] >= 2000
