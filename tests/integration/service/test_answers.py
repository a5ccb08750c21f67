"""What commands say to a person: nothing that is known is left out, and nothing that is missing looks like an empty answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.service.rig import captured, create_table, database_source
from tests.servers.archiver import Archiver
from tests.servers.process import free_port

pytestmark = pytest.mark.postgres(18)

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: x
contexts: [{{name: x, context: {{cluster: x, user: x}}}}]
clusters: [{{name: x, cluster: {{server: "https://127.0.0.1:{port}"}}}}]
users: [{{name: x, user: {{token: x}}}}]
"""


def test_answers_for_a_person(database: str, tmp_path: Path) -> None:
    """A cluster that never answered has its line in ``status``; NULL, an empty text and an unknown row are told apart; a folder's sequences
    are counted."""
    (tmp_path / "kubeconfig").write_text(KUBECONFIG.format(port=free_port()))
    agents = {"kubernetes": {"kubeconfig": str(tmp_path / "kubeconfig")}}
    create_table(database)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE items (id serial PRIMARY KEY, note text, empty text DEFAULT '')")
        connection.execute("INSERT INTO items DEFAULT VALUES")
    with Archiver(tmp_path, {"db": database_source(database), "agents": agents}, serve=True) as archiver:
        archiver.start()
        captured(archiver, "db", database)
        assert archiver.stop() == 0
        lines = {line["name"]: line for line in json.loads(archiver.call("status", "--json", "--offline").stdout)["sources"]}
        assert set(lines) == {"db", "agents"}
        assert lines["agents"]["problem"]
        row = ("--source", "db", "--table", "public.items", "--key")
        shown = archiver.call("show", *row, "id=1").stdout.splitlines()
        assert [line.split() for line in shown] == [["id", "1"], ["note", "NULL"], ["empty", "''"]]
        unknown = archiver.call("log", *row, "id=2")
        assert (unknown.returncode, unknown.stdout, "no change" in unknown.stderr) == (0, "", True)
        restored = archiver.call("restore", "--at", "latest", "--source", "db", "--to", f"{tmp_path}/out", "--json")
        assert '"sequences": 2' in restored.stdout


def test_a_row_that_is_not_known_did_not_certainly_not_exist(database: str, tmp_path: Path) -> None:
    """Inside a gap ``show`` and ``diff`` of a row say that it is not known whether it existed, as they do of objects."""
    create_table(database)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE items (id int PRIMARY KEY, note text); INSERT INTO items VALUES (1, 'a')")
        connection.execute("CREATE TABLE calm (id int PRIMARY KEY)")
        with Archiver(tmp_path, {"db": database_source(database)}, serve=True) as archiver:
            archiver.start()
            captured(archiver, "db", database)
            connection.execute("ALTER TABLE items ALTER id TYPE bigint USING id + 10")
            inside = str(connection.execute("SELECT pg_current_wal_insert_lsn()").fetchall()[0][0])
            connection.execute("INSERT INTO items VALUES (2, 'b')")
            captured(archiver, "db", database)
            asked = ("--source", "db", "--table", "public.items", "--key", "id=11")
            archiver.wait(lambda: archiver.call("show", *asked).returncode == 0, "not copied")
            assert archiver.stop() == 0
        shown = archiver.call("show", *asked, "--at", inside)
        assert (shown.returncode, shown.stdout) == (1, "")
        assert "it is not known whether it existed then" in shown.stderr
        compared = archiver.call("diff", *asked, "--from", inside)
        assert "it is not known whether it existed at --from" in compared.stdout
        for command in ("diff", "log"):
            turned = archiver.call(command, *asked, "--from", "latest", "--until", inside)
            assert (turned.returncode, turned.stdout) == (2, ""), turned
            assert f"--from latest lies behind --until {inside}" in turned.stderr
        other = archiver.call("show", "--source", "db", "--table", "public.calm", "--key", "id=5", "--at", inside)
        assert "it did not exist then" in other.stderr


def test_what_is_not_known_of_a_database_is_a_doubt_of_drills_too(database: str, tmp_path: Path) -> None:
    """A schema that changed unannounced is a gap, rows of a table without a key are nearly true: plan, restore and drill say it alike."""
    create_table(database)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE loose (a int); INSERT INTO loose VALUES (1)")
        with Archiver(tmp_path, {"db": database_source(database)}, serve=True) as archiver:
            archiver.start()
            captured(archiver, "db", database)
            connection.execute("SET session_replication_role = replica")
            connection.execute("CREATE VIEW unannounced AS SELECT 1 AS one")
            inside = str(connection.execute("SELECT pg_current_wal_insert_lsn()").fetchall()[0][0])
            captured(archiver, "db", database)

            def plan() -> Any:
                return json.loads(archiver.call("restore", "--at", inside, "--dry-run", "--json").stdout)["sources"][0]

            archiver.wait(lambda: not plan()["plan"]["schema"]["certain"], "the view was not noticed")
            assert archiver.stop() == 0
        doubts = plan()["doubts"]
        assert any(doubt.startswith("gap: schema: schema_uncertain") for doubt in doubts)
        assert any("public.loose" in doubt for doubt in doubts)
        report = json.loads(archiver.call("drill", "--at", inside, "--json", "--allow-gaps").stdout)
        assert report["doubts"] == [f"db: {doubt}" for doubt in doubts]
        told = archiver.call("drill", "--at", inside, "--allow-gaps")
        assert "not certain" in told.stdout
        assert archiver.call("drill", "--at", inside).returncode == 3
        assert archiver.call("restore", "--at", inside, "--to", str(tmp_path / "out")).returncode == 3
