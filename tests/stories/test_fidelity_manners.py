"""A trial with foreign SQL goes on where psql would, and leaves nothing of the archiver at the server."""

from __future__ import annotations

from pathlib import Path

from fidelity.database import Database
from fidelity.feeding import Feeder, scripts
from fidelity.patience import Patience
from fidelity.report import lines
from fidelity.trial import Trial
from tests.servers.postgres import PostgresServer

SCRIPTS = {
    "1.sql": "CREATE ROLE fidelity_stays;\nCREATE TABLE t (id int PRIMARY KEY);\nCOPY t FROM STDIN;\n1\n2\n\\.\nSELECT 1/0;\nINSERT INTO t VALUES (3);\n",
    "2.sql": "\\set ON_ERROR_STOP 1\nINSERT INTO t VALUES (4);\nSELECT 1/0;\nINSERT INTO t VALUES (5);\n" + "SELECT 1;\n" * 20_000,
    "0.sql": (
        "CREATE SCHEMA far;\nSET search_path = far;\nCREATE FUNCTION low(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)';\n"
        "CREATE FUNCTION slug(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT low($1)';\nCREATE TABLE named (id serial PRIMARY KEY, v text);\n"
        "CREATE INDEX ON named (slug(v));\nINSERT INTO named (v) VALUES ('A'), ('B');\n"
    ),
    "3.sql": "SET search_path = far, public;\nINSERT INTO named (v) VALUES ('C');\nINSERT INTO t VALUES (6);\n",
}


def test_foreign_sql_and_what_stays(postgres_version: int, tmp_path: Path) -> None:
    """An error is passed by, a sequence is set whose table needs a path, a script that ends itself ends alone and is named; slot, publications and triggers are gone, roles are named."""
    for name, text in SCRIPTS.items():
        (tmp_path / name).write_text(text)
    with PostgresServer.start(postgres_version) as server:
        outcome = Trial(Database("manners", server.dsn(), server.bin, server.dsn(), scripts(tmp_path))).run(1)
        told = "\n".join(lines(outcome, errors=True))
        with server.connect() as session:
            left = session.execute(
                "SELECT slot_name FROM pg_replication_slots UNION ALL SELECT pubname FROM pg_publication"
                " UNION ALL SELECT evtname FROM pg_event_trigger UNION ALL SELECT nspname FROM pg_namespace WHERE nspname LIKE 'archiver%'"
            ).fetchall()
            rows = session.execute("SELECT array_agg(id ORDER BY id) FROM t").fetchone()
    assert outcome.ok, told
    assert rows == ([1, 2, 3, 4, 6],)
    assert "2.sql: psql ended in it" in told
    assert "stay at the server: fidelity_stays" in told
    assert left == []


NEVER_ENDING = {
    "statements/1.sql": "CREATE TABLE t (id int PRIMARY KEY);\nSELECT pg_sleep(10000);\nINSERT INTO t VALUES (1);\n",
    "statements/2.sql": "BEGIN;\nINSERT INTO t VALUES (99);\nALTER TABLE t ADD v int;\nPREPARE TRANSACTION 'left';\n",
    "statements/3.sql": "INSERT INTO t VALUES (98);\n\\if false\n" + "SELECT 1;\n" * 100 + "\\endif\n",
    "scripts/1.sql": "\\! sleep 10000\nINSERT INTO t VALUES (97);\n",
    "scripts/2.sql": "INSERT INTO t VALUES (2);\n",
}


def test_what_never_ends(tmp_path: Path) -> None:
    """A statement is cancelled and its script goes on, a script is stopped and the next one runs, what keeps a table locked is rolled back, a branch that is not taken is passed by; each is told."""
    for name, text in NEVER_ENDING.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with PostgresServer.start(18) as server:
        with_statements = Feeder(server.dsn(), server.bin, Patience(statement_seconds=3))
        assert list(with_statements.feed(scripts(tmp_path / "statements"), 1)) == ["the end"]
        with_scripts = Feeder(server.dsn(), server.bin, Patience(script_seconds=6))
        assert list(with_scripts.feed(scripts(tmp_path / "scripts"), 1)) == ["the end"]
        with server.connect() as session:
            rows = session.execute("SELECT array_agg(id ORDER BY id) FROM t").fetchone()
    assert rows == ([1, 2],)
    told = [text for text in with_statements.errors if "ERROR" not in text]
    assert told == [
        "1.sql: a statement ran longer than 3 s and was cancelled: SELECT pg_sleep(10000);",
        "3.sql: a statement ran longer than 3 s and was cancelled: INSERT INTO t VALUES (98);",
        "a prepared transaction was left with a table locked, and was rolled back: left",
    ]
    assert with_scripts.errors == ["1.sql: it ran longer than 6 s and was stopped: what follows did not run"]
