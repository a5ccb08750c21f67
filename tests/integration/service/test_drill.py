"""``archiver drill``: what it proves, what it says when it cannot, and that it leaves nothing behind."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from archiver.clock import SystemClock, to_text
from tests.integration.service.rig import captured, create_table, database_source, headers, segment_file, until, write
from tests.integration.service.test_web import samples
from tests.servers.archiver import Archiver
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, path
from tests.servers.postgres import PostgresServer
from tests.servers.process import free_port
from tests.servers.proxy import UP, FaultProxy

pytestmark = pytest.mark.postgres(18)

STEPS = ["verify", "scratch", "plan", "restore", "clean up"]
_MYSELF = "WHERE rolname = current_user AND pg_has_role('pg_read_all_data', 'USAGE')"


@pytest.fixture
def recorded(database: str, tmp_path: Path) -> Archiver:
    """An archive of one database with a few rows; its archiver has stopped."""
    create_table(database)
    archiver = Archiver(tmp_path, {"db": database_source(database)}, serve=True)
    with archiver:
        archiver.start()
        captured(archiver, "db", database)
        assert archiver.stop() == 0
    return archiver


@pytest.fixture
def scratch_server(start_postgres: Callable[..., PostgresServer], postgres: PostgresServer) -> PostgresServer:
    """A server that is not the source's."""
    return start_postgres(postgres.version, own_system=True)


def databases(server: PostgresServer) -> list[str]:
    with server.connect() as connection:
        return [str(row[0]) for row in connection.execute("SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1")]


def drill(archiver: Archiver, *words: str, env: dict[str, str] | None = None) -> tuple[int, dict[str, Any], str]:
    """Exit code, report, standard error."""
    done = archiver.call("drill", "--json", *words, env=env)
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def failed(report: dict[str, Any]) -> list[str]:
    return [step["name"] for step in report["steps"] if not step["ok"]]


def test_what_killed_drills_left_is_named(recorded: Archiver, scratch_server: PostgresServer, tmp_path: Path) -> None:
    """Nobody else may drop a database: a drill on another machine could be at work there. Folders go, with the rows in them."""
    scratch_server.execute("CREATE DATABASE archiver_drill_0123456789ab")
    rows = tmp_path / "scratch/db/rows"
    rows.mkdir(parents=True)
    (tmp_path / "scratch/.archiver-drill").touch()
    (rows / "public.note.sql").write_text("1")
    code, report, errors = drill(recorded, "--scratch-dsn", scratch_server.dsn(), "--scratch-folder", str(tmp_path / "scratch"))
    assert code == 0, errors
    (scratch,) = [step["detail"] for step in report["steps"] if step["name"] == "scratch"]
    assert "archiver_drill_0123456789ab" in scratch
    assert f"removed what killed drills left in {tmp_path / 'scratch'}" in scratch
    assert not (tmp_path / "scratch").exists()
    assert databases(scratch_server) == ["archiver_drill_0123456789ab", "postgres"]


def test_both_kinds_are_proven_and_shown(
    database: str,
    scratch_server: PostgresServer,
    cluster: ControlPlane,
    namespace: str,
    start_cluster: Callable[..., ControlPlane],
    tmp_path: Path,
) -> None:
    """A drill into a scratch server and a folder, and one into a scratch API server, pass, are shown by /metrics and leave nothing behind."""
    create_table(database)
    cluster.request("POST", path("Agent", namespace), custom_resource("Agent", namespace, "a"))
    kubernetes = {"kubeconfig": str(cluster.kubeconfig), "namespaces": [namespace], "resources": ["agents.agents.proompteng.ai"]}
    with Archiver(tmp_path, {"db": database_source(database), "agents": {"kubernetes": kubernetes}}, serve=True) as archiver:
        archiver.start()
        captured(archiver, "db", database)
        stream = f"agents/agents.proompteng.ai/agents@{namespace}"
        archiver.wait(lambda: archiver.live_source(stream).get("checkpoint"), "no list")
        folder = tmp_path / "scratch"
        code, report, errors = drill(archiver, "--scratch-dsn", scratch_server.dsn(), "--scratch-folder", str(folder))
        assert code == 0, errors
        assert report["passed"]
        assert [step["name"] for step in report["steps"]] == STEPS
        assert failed(report) == []
        assert sorted(report["sources"]) == ["agents", "db"]
        assert report["restore_seconds"] > 0
        assert 0 < report["point"] <= report["started"]
        assert databases(scratch_server) == ["postgres"]
        assert not folder.exists()

        other = start_cluster()
        other.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        words = ("--source", "agents", "--scratch-kubeconfig", str(other.kubeconfig), "--scratch-folder", str(folder))
        code, second, errors = drill(archiver, *words)
        assert code == 0, errors
        assert [item["metadata"]["name"] for item in other.request("GET", path("Agent", namespace))["items"]] == ["a"]
        assert second["sources"] == ["agents"]

        # What is there already would stay as it is: a drill that restores nothing proves nothing.
        changed = {"metadata": {"labels": {"not": "captured"}}}
        other.request("PATCH", path("Agent", namespace, "a"), changed, content_type="application/merge-patch+json")
        code, third, errors = drill(archiver, *words)
        assert (code, third["passed"]) == (3, False)
        assert "exists in the target already" in errors

        # The second one proves nothing of the database.
        def shown(drilled: dict[str, Any]) -> bool:
            return samples(archiver)["archiver_drill_last_success_timestamp_seconds",] == float(drilled["finished"]) / 1e6

        archiver.wait(lambda: shown(report), "/metrics does not show the drill", 100)
        found = samples(archiver)
        assert found["archiver_drill_proven_point_timestamp_seconds",] == report["point"] / 1e6
        assert found["archiver_drill_duration_seconds",] == report["restore_seconds"]
        assert archiver.live()["drill"]["finished"] == report["finished"]
        table = archiver.call("drill", "--source", "db", "--scratch-dsn", scratch_server.dsn())
        assert table.returncode == 0, table.stderr
        assert "passed" in table.stdout
        archiver.wait(lambda: shown(second), "/metrics does not show the drills of both", 100)
        assert archiver.stop() == 0


def test_an_altered_segment_fails_it(recorded: Archiver, scratch_server: PostgresServer) -> None:
    """One flipped bit: exit code 7, the segment is named, nothing was made or recorded."""
    file = segment_file(recorded, len(headers(f"file://{recorded.folder}/journal")) // 2)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.chmod(0o600)
    file.write_bytes(data)
    folder = recorded.folder / "scratch"
    code, report, errors = drill(recorded, "--scratch-dsn", scratch_server.dsn(), "--scratch-folder", str(folder))
    assert code == 7
    assert not report["passed"]
    assert failed(report) == ["verify"]
    assert "segment" in errors
    assert databases(scratch_server) == ["postgres"]
    assert not folder.exists()
    assert not (recorded.folder / "journal/drills").exists()


def test_a_gap_fails_it(recorded: Archiver, database: str, scratch_server: PostgresServer) -> None:
    """A point whose history is not known: exit code 3 unless gaps are allowed, and the scratch database is gone either way."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()")
    write(database)
    lost = to_text(SystemClock().now())
    time.sleep(0.1)
    write(database)
    with recorded as archiver:
        before = archiver.source("db")["checkpoint"]
        archiver.start()
        archiver.wait(lambda: (archiver.live_source("db").get("checkpoint") or 0) > before, "no new baseline")
        captured(archiver, "db", database)
        assert archiver.live_source("db")["gaps"] == 1
        assert archiver.stop() == 0
    words = ("--scratch-dsn", scratch_server.dsn(), "--at", lost)
    code, report, errors = drill(recorded, *words)
    assert code == 3, errors
    assert "gap" in errors
    assert failed(report) == ["restore"]
    assert databases(scratch_server) == ["postgres"]
    code, report, errors = drill(recorded, *words, "--allow-gaps")
    assert code == 0, errors
    code, report, errors = drill(recorded, "--scratch-dsn", scratch_server.dsn())
    assert code == 0, errors


def test_a_scratch_place_of_no_use_is_named(recorded: Archiver, scratch_server: PostgresServer) -> None:
    """A scratch server that is away, or whose role may not create databases, or a folder in use fails the drill by name; the archive is not blamed."""
    away = f"postgresql://postgres@127.0.0.1:{free_port()}/postgres"
    code, report, errors = drill(recorded, "--scratch-dsn", away)
    assert (code, failed(report)) == (4, ["scratch"]), errors
    scratch_server.execute("CREATE ROLE weak LOGIN")
    code, report, errors = drill(recorded, "--scratch-dsn", scratch_server.dsn().replace("postgres@", "weak@"))
    assert (code, failed(report)) == (2, ["scratch"]), errors
    assert "CREATEDB" in errors or "may not create databases" in errors
    folder = recorded.folder / "mine"
    folder.mkdir()
    (folder / "precious").write_text("x")
    done = recorded.call("drill", "--scratch-folder", str(folder))
    assert done.returncode == 2
    assert (folder / "precious").exists()


def test_a_restore_that_the_scratch_server_does_not_take_leaves_nothing(
    postgres: PostgresServer, database: str, scratch_server: PostgresServer, tmp_path: Path
) -> None:
    """A role that is missing at the scratch server fails the drill at the restore; the scratch database is removed; --no-owner is the remedy."""
    role = f"keeper_{free_port()}"
    create_table(database)
    postgres.execute(f"CREATE ROLE {role}")
    try:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(sql.SQL("ALTER TABLE note OWNER TO {}").format(sql.Identifier(role)))
        with Archiver(tmp_path, {"db": database_source(database)}, serve=True) as archiver:
            archiver.start()
            captured(archiver, "db", database)
            assert archiver.stop() == 0
        code, report, errors = drill(archiver, "--scratch-dsn", scratch_server.dsn())
        assert code in {2, 3}, errors
        assert failed(report) == ["restore"]
        assert role in errors
        assert databases(scratch_server) == ["postgres"]
        code, report, errors = drill(archiver, "--scratch-dsn", scratch_server.dsn(), "--no-owner")
        assert code == 0, errors
    finally:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
        postgres.execute(f"DROP ROLE {role}")


def test_a_scratch_server_that_takes_no_writes_is_named(recorded: Archiver, scratch_server: PostgresServer) -> None:
    """A standby, or a server set to read only, is an error that says so, not a stack trace."""
    scratch_server.execute("ALTER ROLE postgres SET default_transaction_read_only = on")
    code, report, errors = drill(recorded, "--scratch-dsn", scratch_server.dsn())
    assert (code, failed(report)) == (2, ["scratch"]), errors
    assert "read-only" in errors


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_drill_that_is_stopped_cleans_up(recorded: Archiver, scratch_server: PostgresServer, database: str, how: signal.Signals) -> None:
    """A signal in the middle of the restore ends it without a report; scratch database and folder are removed first."""
    with recorded as archiver:
        archiver.start()
        archiver.wait(lambda: archiver.live_source("db").get("state") == "streaming", "it does not stream")
        write(database, 200_000)
        captured(archiver, "db", database)
        assert archiver.stop() == 0
    folder = recorded.folder / "scratch"
    with FaultProxy.start("127.0.0.1", scratch_server.port) as proxy:
        # The restore sends some fifty chunks after it has made its database: it cannot be over before the signal.
        proxy.delay(0.1, UP)
        scratch = scratch_server.dsn().replace(f":{scratch_server.port}/", f":{proxy.port}/")
        command = [sys.executable, "-m", "archiver", "-c", str(recorded.config), "drill", "--scratch-dsn", scratch]
        process = subprocess.Popen([*command, "--scratch-folder", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            until(lambda: len(databases(scratch_server)) > 1, "no scratch database")
            process.send_signal(how)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait()
        assert proxy.accepted
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert databases(scratch_server) == ["postgres"]
    assert not folder.exists()
    assert not (recorded.folder / "journal/drills").exists()


def test_what_does_not_hold_fails_it_and_is_shown(database: str, scratch_server: PostgresServer, tmp_path: Path) -> None:
    """Each assertion is asked, whatever comes of the others. A failed drill is recorded apart, and is over once one passes."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE note (id bigserial PRIMARY KEY, text text)")
        connection.execute("CREATE FUNCTION delayed() RETURNS int LANGUAGE sql AS 'SELECT 1 FROM pg_sleep(60)'")
        connection.execute("INSERT INTO note (text) VALUES ('precious')")
    asked: list[tuple[str, str, dict[str, Any], bool, str]] = [
        ("there", "SELECT count(*) FROM note", {"at_least": 1}, True, ""),
        ("of the past", "SELECT text FROM public.note WHERE id = 1;", {"equals": "precious"}, True, "precious"),
        ("none", "SELECT * FROM note WHERE text = 'lost'", {"nothing": True}, True, "nothing"),
        ("by its own rights", f"SELECT rolsuper FROM pg_roles {_MYSELF}", {"equals": False}, True, ""),
        ("many", "SELECT count(*) FROM note", {"at_least": 1000}, False, ""),
        ("two", "SELECT id FROM (VALUES (1), (2)) v (id)", {"equals": 1}, False, "it gives more than one row with 1 columns"),
        ("wide", "SELECT 1, 2", {"equals": 1}, False, "it gives one row with 2 columns"),
        ("misspelt", "SELECT count(*) FROM notes", {"equals": 1}, False, 'the server does not do it: relation "notes" does not exist'),
        ("writing", "WITH w AS (DELETE FROM note RETURNING 1) SELECT count(*) FROM w", {"at_least": 0}, False, "the server does not do it"),
        ("writing behind", "SELECT setval('note_id_seq', 99)", {"equals": 99}, False, "the server does not do it"),
        ("several", "SELECT 1; DROP TABLE note", {"equals": 1}, False, "it is not one query that gives rows (42P11)"),
        ("quoting", "SELECT text::int FROM note", {"equals": 1}, False, "the server does not do it: InvalidTextRepresentation (22P02)"),
        ("slow", "SELECT delayed()", {"equals": 1}, False, "it was ended at its time limit"),
    ]
    drills = {
        "statement_seconds": 2,
        "assertions": [{"name": name, "source": "db", "sql": query, **expected} for name, query, expected, *_ in asked],
    }
    with Archiver(tmp_path, {"db": database_source(database)}, serve=True, drills=drills) as archiver:
        archiver.start()
        captured(archiver, "db", database)
        assert archiver.stop() == 0
        words = ("--scratch-dsn", scratch_server.dsn())
        code, report, errors = drill(archiver, *words)
        assert (code, failed(report)) == (9, ["assertions"]), errors
        assert {each["name"]: each["holds"] for each in report["assertions"]} == {name: holds for name, *_, holds, _ in asked}
        found = {each["name"]: each["found"] for each in report["assertions"]}
        assert [(name, found[name]) for name, *_, words_found in asked if not found[name].startswith(words_found)] == []
        assert "9 of 13 assertions do not hold: many, two, " in errors
        assert "precious" not in errors
        assert databases(scratch_server) == ["postgres"]
        assert not (tmp_path / "journal/drills").exists()
        wait_until_shown(archiver, passed=False, failures=(1, 9))
        code, report, errors = drill(archiver, *words, env={"ARCHIVER_DRILLS__ASSERTIONS": "[]"})
        assert code == 0, errors
        wait_until_shown(archiver, passed=True, failures=(0, 0))


def wait_until_shown(archiver: Archiver, *, passed: bool, failures: tuple[float, float]) -> None:
    """An archiver that starts now shows whether a drill has passed, and how many sources and assertions have failed."""

    def shown() -> bool:
        seen = samples(archiver)
        found = seen.get(("archiver_drill_failed_sources",)), seen.get(("archiver_drill_failed_assertions",))
        return found == failures and (seen["archiver_drill_last_success_timestamp_seconds",] > 0) == passed

    archiver.start()
    archiver.wait(lambda: bool(archiver.live()) and shown(), f"/metrics does not show {failures}")
    assert archiver.stop() == 0


def test_evidence_names_what_was_restored_and_no_rows(
    database: str, scratch_server: PostgresServer, cluster: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """Counts, hashes that the source agrees with, assertions, the verified head and the points; of a failed drill too."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE note (id bigserial PRIMARY KEY, text text)")
        connection.execute('CREATE TABLE "no key" (a text, "t" numeric)')
        connection.execute('ALTER TABLE "no key" REPLICA IDENTITY FULL')
        connection.execute("INSERT INTO \"no key\" VALUES ('secret | row', 1), (NULL, 2), ('secret | row', 1), ('Ä', NULL)")
    for name, phase in (("a", "Ready"), ("b", "Lost")):
        body = {**custom_resource("Agent", namespace, name), "status": {"phase": phase}}
        cluster.request("POST", path("Agent", namespace), body)
        cluster.request(
            "PUT",
            path("Agent", namespace, name) + "/status",
            {**body, "metadata": cluster.request("GET", path("Agent", namespace, name))["metadata"]},
        )
    of_objects = {"source": "agents", "kind": "agents.agents.proompteng.ai", "namespace": namespace}
    drills = {
        "assertions": [
            {"name": "rows | of note", "source": "db", "sql": "SELECT count(*) FROM note", "at_least": 1},
            {"name": "both agents", **of_objects, "equals": 2},
            {"name": "one is lost", **of_objects, "path": "$.status[?@ == 'Lost']", "nothing": True},
        ]
    }
    sources = {
        "db": database_source(database),
        "agents": {
            "kubernetes": {"kubeconfig": str(cluster.kubeconfig), "namespaces": [namespace], "resources": ["*.agents.proompteng.ai"]}
        },
    }
    with Archiver(tmp_path, sources, serve=True, drills=drills) as archiver:
        archiver.start()
        captured(archiver, "db", database)
        stream = f"agents/agents.proompteng.ai/agents@{namespace}"
        archiver.wait(lambda: archiver.live_source(stream).get("checkpoint"), "no list")
        assert archiver.stop() == 0
    head = archiver.call("verify", "--json")
    code, report, errors = drill(archiver, "--scratch-dsn", scratch_server.dsn(), "--evidence", str(tmp_path / "proof"))
    assert (code, failed(report)) == (9, ["assertions"]), errors
    files = sorted(file.suffix for file in (tmp_path / "proof").iterdir())
    assert files == [".json", ".md"]
    text = next((tmp_path / "proof").glob("*.md")).read_text()
    evidence = json.loads(next((tmp_path / "proof").glob("*.json")).read_text())
    assert not evidence["passed"]
    assert evidence["head"] == json.loads(head.stdout)["head"]
    assert evidence["assertions"] == report["assertions"]
    assert [each["holds"] for each in evidence["assertions"]] == [True, True, False]
    db, agents = evidence["sources"]
    tables = {each["name"]: each for each in db["tables"]}
    for name, order in (("note", 'id::text COLLATE "C"'), ("no key", '(x.*)::text COLLATE "C"')):
        with psycopg.connect(database) as connection, connection.cursor() as cursor:
            query = sql.SQL("COPY (SELECT x.* FROM {} x ORDER BY " + order + ") TO STDOUT").format(sql.Identifier(name))
            with cursor.copy(query) as copy:
                rows = b"".join(copy)
        assert tables[f"public.{name}"]["sha256"] == hashlib.sha256(rows).hexdigest()
        assert tables[f"public.{name}"]["rows"] == rows.count(b"\n") > 0
    assert db["lsn"]
    assert db["restored_into"].startswith("PostgreSQL ")
    assert agents["objects"]["agents.agents.proompteng.ai"] == 2
    for leak in ("secret", "Lost", "Ready"):
        assert leak not in json.dumps(evidence["sources"]) + json.dumps(evidence["steps"])
    assert "| rows \\| of note | db | holds | at least 1 |" in text
    assert "DOES NOT HOLD" in text
    misspelt = json.dumps([{"name": "none", **of_objects, "kind": "agnts", "nothing": True}])
    code, report, errors = drill(archiver, "--source", "agents", env={"ARCHIVER_DRILLS__ASSERTIONS": misspelt})
    assert (code, failed(report)) == (2, ["plan"]), errors
    assert "is about 'agnts', and agents has captured no such kind by then" in errors


def test_an_assertion_that_is_never_asked_fails_it(recorded: Archiver, tmp_path: Path) -> None:
    """A database in a folder answers no query, and a source that the archive has not is misspelt. Evidence does not go into the archive."""
    base = {"name": "many", "source": "db", "sql": "SELECT 1", "equals": 1}
    for more, words in (
        ({}, "restored into a folder"),
        ({"source": "dbb"}, "the archive has only db"),
        ({"sql": "", "kind": "runs"}, "a database"),
    ):
        given = json.dumps([{**base, **more}])
        code, report, errors = drill(recorded, env={"ARCHIVER_DRILLS__ASSERTIONS": given})
        assert code == 2, errors
        assert words in errors + json.dumps(report)
    code, report, errors = drill(recorded, "--evidence", str(tmp_path / "journal/proof"))
    assert (code, report) == (3, {})
    assert "in the archive itself" in errors
    (tmp_path / "taken").touch()
    code, report, errors = drill(recorded, "--evidence", str(tmp_path / "taken/proof"))
    assert (code, report) == (2, {}), errors
    assert "cannot write the evidence" in errors
    assert not (tmp_path / "journal/failed-drills").exists()
