"""``archiver check``: what would be refused is found before anything is captured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.service.rig import create_table, database_source
from tests.servers.archiver import Archiver
from tests.servers.controlplane import ControlPlane
from tests.servers.process import free_port

pytestmark = pytest.mark.postgres(18)


def check(archiver: Archiver) -> tuple[int, list[dict[str, Any]]]:
    done = archiver.call("check", "--json")
    return done.returncode, json.loads(done.stdout)


def test_all_is_well(database: str, cluster: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """With both kinds in order every line is ok or a note, and nothing was created at the sources or in the journal."""
    create_table(database)
    kubernetes = {"kubeconfig": str(cluster.kubeconfig), "namespaces": [namespace]}
    archiver = Archiver(tmp_path, {"db": database_source(database), "agents": {"kubernetes": kubernetes}})
    code, found = check(archiver)
    assert code == 0
    assert {item["level"] for item in found} <= {"ok", "note", "warning"}
    assert {item["source"] for item in found} == {"", "db", "agents"}
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM pg_publication").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()").fetchone() == (0,)
    assert not list((tmp_path / "journal").rglob("*.seg*"))


def test_everything_wrong_is_told_at_once(database: str, tmp_path: Path) -> None:
    """A store, a database and a cluster that cannot be reached, and a server whose settings would be refused: one run names all four."""
    nowhere = free_port()
    (tmp_path / "file").write_text("not a folder")
    sources = {
        "unbounded": {"postgres": {"dsn": database}},
        "away": database_source(f"postgresql://postgres@127.0.0.1:{nowhere}/x"),
        "nobody": database_source(database.replace("postgres@", "nobody@")),
        "agents": {"kubernetes": {"kubeconfig": str(tmp_path / "nowhere")}},
    }
    archiver = Archiver(tmp_path, sources, archive={"url": f"file://{tmp_path}/file/journal"})
    code, found = check(archiver)
    assert code == 3
    refused = {item["source"]: item for item in found if item["level"] == "refused"}
    assert set(refused) == {"", "unbounded", "away", "nobody", "agents"}
    assert all(item["text"] and item["remedy"] for item in refused.values())
    table = archiver.call("check")
    assert table.returncode == 3
    assert "max_slot_wal_keep_size" in table.stdout


def test_a_slot_that_is_not_ours_is_named(database: str, tmp_path: Path) -> None:
    """A slot of our name that this archive did not create, and a file without sources, are refused before anything runs."""
    create_table(database)
    archiver = Archiver(tmp_path, {"db": database_source(database)})
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SELECT pg_create_logical_replication_slot('archiver_db', 'pgoutput')")
        try:
            code, found = check(archiver)
        finally:
            connection.execute("SELECT pg_drop_replication_slot('archiver_db')")
    assert code == 3
    assert [item["subject"] for item in found if item["level"] == "refused"] == ["slot"]
    assert check(Archiver(tmp_path, {}, name="empty"))[0] == 3


def test_rows_that_will_be_left_out_are_named(database: str, tmp_path: Path) -> None:
    """The table is named, with what can be done; nothing of the row."""
    create_table(database)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE blob (id int PRIMARY KEY, data bytea)")
        connection.execute("INSERT INTO blob VALUES (1, convert_to(repeat('secret', 200000), 'UTF8')), (2, 'small')")
    source = database_source(database)
    source["postgres"]["largest_row_bytes"] = 1 << 20
    _, found = check(Archiver(tmp_path, {"db": source}))
    (line,) = [item for item in found if item["subject"] == "table public.blob"]
    assert (line["level"], line["source"]) == ("warning", "db")
    assert line["text"].startswith("rows larger than 1 MiB as text: 1;")
    assert "exclude the table" in line["remedy"]
    assert "secret" not in str(found)
