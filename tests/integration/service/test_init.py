"""``archiver init``, asked of real servers: what it writes is where capture begins."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from archiver.settings import load
from tests.integration.service.rig import create_table
from tests.servers.controlplane import ControlPlane

ROOT = Path(__file__).parents[3]


def archiver(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "archiver", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False, env=environment)


@pytest.mark.postgres(18)
def test_a_database_and_a_cluster_become_settings(database: str, cluster: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """Without a secret; nothing is written over; `check` takes the file as it is."""
    create_table(database)
    with psycopg.connect(database, autocommit=True) as session:
        session.execute('CREATE SCHEMA app; CREATE TABLE app."odd\nname" (id int PRIMARY KEY); CREATE TABLE app.keyless (n int)')
    dsn = conninfo.make_conninfo(database, password="hunter2")
    words = (
        "init",
        "--postgres",
        dsn,
        "--kubernetes",
        str(cluster.kubeconfig),
        "--namespace",
        namespace,
        "--archive",
        f"file://{tmp_path}/j",
    )
    shown = archiver(tmp_path, *words, "--print")
    assert shown.returncode == 0, shown.stderr
    assert not (tmp_path / "archiver.yaml").exists()
    done = archiver(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "archiver.yaml").read_text()
    assert text == shown.stdout
    assert "hunter2" not in text + done.stdout + done.stderr
    assert "app (2 tables), public (1 tables)" in text
    settings = load(tmp_path / "archiver.yaml", {})
    found = {name: source.postgres or source.kubernetes for name, source in settings.sources.items()}
    base, crs = settings.sources[next(iter(found))].postgres, settings.sources["cluster"].kubernetes
    assert base is not None
    assert crs is not None
    assert (base.password.startswith("env:"), base.password.endswith("_PASSWORD")) == (True, True)
    assert crs.namespaces == [namespace]
    assert "*.agents.proompteng.ai" in crs.resources
    assert not any(line.endswith(".k8s.io") for line in crs.resources)
    for extra in ((), ("-c", "archiver.yaml")):
        again = archiver(tmp_path, *words, *extra)
        assert (again.returncode, "is not written over" in again.stderr) == (3, True), again
    assert (tmp_path / "archiver.yaml").read_text() == text
    # The settings stand in force as they are: only the password is still to come.
    missing = archiver(tmp_path, "check")
    assert base.password.removeprefix("env:") in missing.stdout + missing.stderr


def test_nobody_to_ask_and_nobody_who_answers(tmp_path: Path) -> None:
    """Nothing is written then."""
    assert archiver(tmp_path, "init").returncode == 2
    silent = archiver(tmp_path, "init", "--postgres", f"host=/none/{uuid.uuid4().hex} dbname=x")
    assert silent.returncode == 4, silent.stderr
    secret = archiver(tmp_path, "init", "--postgres", "dbname=x", "--archive", "s3://user:hunter2@bucket/x")
    assert secret.returncode in (2, 4)
    assert "hunter2" not in secret.stderr
    assert list(tmp_path.iterdir()) == []
