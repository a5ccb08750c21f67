"""A small database and a few objects, changed by several hands: what an auditor asks, and what the answers say."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest

from archiver.clock import SystemClock, to_text
from tests.servers.archiver import Archiver, wait_until_durable
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, path
from tests.servers.warm_commands import WarmCommands

pytestmark = pytest.mark.postgres(18)

TABLES = """
CREATE TABLE accounts (id int PRIMARY KEY, owner text, balance int, terms text);
ALTER TABLE accounts ALTER terms SET STORAGE EXTERNAL;
INSERT INTO accounts VALUES (1, 'ann', 10, repeat('t', 5000)), (2, 'bob', 20, NULL), (3, E'x\\x1b[2J', 30, '');
CREATE TABLE notes (text text);
CREATE TABLE drafts (id int PRIMARY KEY);
CREATE SEQUENCE numbers;
"""
MERGE = "application/merge-patch+json"


@dataclass
class Audited:
    """The captured past, and its two points."""

    commands: WarmCommands
    archiver: Archiver
    names: dict[str, str]

    def log(self, *words: str) -> list[dict[str, Any]]:
        done = self.commands.call("log", "--json", *words)
        assert done.returncode in (0, 3), done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def audited(database: str, cluster: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Audited]:
    place, now = path("ToolRun", namespace), SystemClock().now
    sources = {
        "db": {"postgres": {"dsn": database, "allow_unlimited_wal": True, "poll_seconds": 0.3}},
        "agents": {
            "kubernetes": {"kubeconfig": str(cluster.kubeconfig), "namespaces": [namespace], "resources": ["toolruns.tools.proompteng.ai"]}
        },
    }

    def write(method: str, where: str, body: dict[str, Any] | None = None, who: str = "") -> None:
        kind = MERGE if method == "PATCH" else "application/json"
        cluster.request(method, where + (f"?fieldManager={who}" if who else ""), body, content_type=kind)

    with (
        psycopg.connect(database, autocommit=True) as session,
        Archiver(tmp_path, sources, serve=True, archive={"heartbeat_seconds": 0.3}) as archiver,
    ):
        session.execute(TABLES)
        write("POST", place, custom_resource("ToolRun", namespace, "old", {"retries": 7}))
        archiver.start()
        archiver.wait(lambda: archiver.live_source("db").get("checkpoint"), "there is no baseline")
        stream = f"agents/tools.proompteng.ai/toolruns@{namespace}"
        archiver.wait(lambda: archiver.live_source(stream).get("checkpoint"), "the cluster is not watched")
        time.sleep(0.3)
        start = to_text(now())
        time.sleep(0.3)
        with session.transaction():
            session.execute("UPDATE accounts SET balance = balance - 5 WHERE id = 1")
            session.execute("UPDATE accounts SET balance = balance + 5 WHERE id = 2")
            xid = session.execute("SELECT pg_current_xact_id()::text").fetchone()
        with session.transaction(force_rollback=True):
            session.execute("DELETE FROM accounts")
        write("POST", place, custom_resource("ToolRun", namespace, "new", {"retries": 1}), "deployer")
        write("PATCH", f"{place}/old", {"spec": {"retries": 8}}, "cook")
        write("PATCH", f"{place}/new/status", {"status": {"phase": "Running"}}, "runner")
        write("DELETE", f"{place}/old")
        session.execute("DELETE FROM accounts WHERE id = 3")
        session.execute("INSERT INTO notes VALUES ('kept')")
        session.execute("ALTER TABLE accounts ADD COLUMN note text")
        session.execute("UPDATE accounts SET note = 'vip' WHERE id = 2")
        session.execute("INSERT INTO drafts VALUES (1)")
        session.execute("TRUNCATE drafts")
        session.execute("DROP TABLE drafts")
        assert xid is not None
        with WarmCommands(archiver.config) as commands:
            made = Audited(commands, archiver, {"FROM": start, "SPACE": namespace, "XID": xid[0]})
            wait_until_durable(archiver, "db", database)
            archiver.wait(lambda: {"drop", "deleted"} <= {each["operation"] for each in made.log("--allow-gaps")}, "not all is captured")
            made.names["UNTIL"] = to_text(now())
            time.sleep(0.3)
            session.execute("UPDATE accounts SET balance = 0")
            wait_until_durable(archiver, "db", database)
            assert archiver.stop() == 0
            yield made


@pytest.mark.timeout(600)
def test_an_audit(audited: Audited) -> None:
    """What stands between two points; ten questions about it."""
    check_a_span(audited)
    check_ten_questions(audited)
    check_a_parquet_file(audited)
    check_sql(audited)
    check_what_need_not_be_said(audited)


def check_a_parquet_file(audited: Audited) -> None:
    """It holds what CSV says, and ends as the other forms do where something is not known."""
    span = ["--from", audited.names["FROM"], "--until", audited.names["UNTIL"]]
    file = audited.archiver.folder / "changes.parquet"
    done = audited.commands.call("log", *span, "--format", "parquet", "-o", str(file))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    rows = pq.read_table(file).to_pylist()
    lines = list(csv.DictReader(io.StringIO(audited.commands.call("log", *span, "--csv").stdout)))
    same = ["source", "operation", "table", "kind", "namespace", "name", "field", "new", "lsn", "field_manager", "detail"]
    assert [[row[name] or "" for name in same] for row in rows] == [
        [line[name].replace("\\x1b", "\x1b") for name in same] for line in lines
    ]
    assert f"{rows[-1]['change']} changes written" in done.stderr or rows[-1]["operation"] == "note"
    early = audited.commands.call("log", "--from", "1", "--until", "2", "--source", "db", "--format", "parquet", "-o", str(file))
    plain = audited.commands.call("log", "--from", "1", "--until", "2", "--source", "db", "--json")
    assert early.returncode == plain.returncode
    assert pq.read_table(file).num_rows >= len(plain.stdout.splitlines())


def check_what_need_not_be_said(audited: Audited) -> None:
    """The only source is meant; what is misspelt is named; nothing is told of what was not asked for."""
    call, space = audited.commands.call, audited.names["SPACE"]
    for command in ("log", "show"):
        row = call(command, "--table", "accounts", "--key", "id=1")
        assert (row.returncode, "numbers" in row.stderr) == (0, False), row.stderr
        thing = call(command, "--object", f"toolruns/{space}/new")
        assert (thing.returncode, "new" in thing.stdout or command == "log") == (0, True), thing.stderr
        bare = call(command, "--object", "toolruns/new")
        assert (bare.returncode, bare.stdout) == (2, "")
        assert f"did you mean toolruns/{space}/new?" in bare.stderr
        wrong = call(command, "--table", "acounts", "--key", "id=1")
        assert (wrong.returncode, "did you mean public.accounts?" in wrong.stderr) == (2, True), wrong.stderr
    near = call("show", "--object", f"toolruns/{space}/nwe")
    assert (near.returncode, f"did you mean toolruns/{space}/new?" in near.stderr) == (1, True)
    assert call("diff", "--table", "accounts", "--key", "id=1", "--from", audited.names["FROM"]).returncode == 1
    asked = call("sql", "SELECT count(*) FROM accounts")
    assert (asked.returncode, asked.stderr) == (0, "")
    listed = call("sql", "--json", "show tables;")
    names = [(each["source"], each["schema"], each["name"]) for each in map(json.loads, listed.stdout.splitlines())]
    assert names == [
        ("db", "public", "accounts"),
        ("db", "public", "notes"),
        *(("agents", None, name) for name in ("customresourcedefinitions", "toolruns")),
    ]


def check_sql(audited: Audited) -> None:
    """Rows and objects as of two points, by one question each; nothing else is read, and nothing written."""

    def ask(at: str, question: str) -> list[dict[str, Any]]:
        done = audited.commands.call("sql", "--json", "--at", at, question)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    start, end, later = audited.names["FROM"], audited.names["UNTIL"], "latest"
    balances = "SELECT id, balance, length(terms) AS terms FROM accounts ORDER BY id"
    assert ask(start, balances) == [
        {"id": 1, "balance": 10, "terms": 5000},
        {"id": 2, "balance": 20, "terms": None},
        {"id": 3, "balance": 30, "terms": 0},
    ]
    assert [(each["id"], each["balance"]) for each in ask(end, balances)] == [(1, 5), (2, 25)]
    assert ask(end, "SELECT owner FROM db.public.accounts WHERE note = 'vip'") == [{"owner": "bob"}]
    assert ask(later, "SELECT sum(balance) AS all FROM public.accounts") == [{"all": 0}]
    retries = "SELECT name, (object->>'$.spec.retries')::INT AS retries FROM toolruns"
    assert ask(start, retries) == [{"name": "old", "retries": 7}]
    assert ask(end, retries) == [{"name": "new", "retries": 1}]
    both = "WITH o AS (SELECT * FROM agents.toolruns) SELECT count(*) AS n FROM o, db.public.accounts"
    assert ask(end, both) == [{"n": 2}]
    shown = audited.commands.call("sql", "--at", start, "SELECT owner, terms FROM accounts WHERE id > 1 ORDER BY id")
    assert shown.stdout.splitlines() == ["owner     terms", "bob       NULL", "x\\x1b[2J  ''"]
    as_csv = audited.commands.call("sql", "--csv", "SELECT 1 AS a, NULL AS b, '' AS c")
    assert as_csv.stdout == '"a","b","c"\n"1",,""\n'
    for question, said in (
        ("DELETE FROM accounts", "only one SELECT"),
        ("SELECT * FROM read_csv('/etc/passwd')", "cannot be answered"),
        ("SELECT * FROM drafts", "there is no table or kind drafts"),
        ("SELECT nothing FROM accounts", "cannot be answered"),
    ):
        wrong = audited.commands.call("sql", "--at", end, question)
        assert (wrong.returncode, said in wrong.stderr) == (2, True), (question, wrong.stderr)


def check_a_span(audited: Audited) -> None:
    """Between two points: what was committed and received, once, in one order, with what was before; nothing of what was rolled back."""
    span = ("--from", audited.names["FROM"], "--until", audited.names["UNTIL"])
    found = audited.log(*span)
    of_rows = [(each["operation"], each["table"], each.get("key", {})) for each in found if each["source"] == "db"]
    # What the catalog says stands where it was read next: soon after, whenever that is.
    noticed = [each for each in of_rows if each[0] in ("alter", "drop")]
    assert noticed == [("alter", "public.accounts", {}), ("drop", "public.drafts", {})]
    of_rows = [each for each in of_rows if each not in noticed]
    one, two, three = ({"id": str(number)} for number in (1, 2, 3))
    assert of_rows == [
        ("update", "public.accounts", one),
        ("update", "public.accounts", two),
        ("delete", "public.accounts", three),
        ("insert", "public.notes", {}),
        ("ddl", "public.accounts", {}),
        ("update", "public.accounts", two),
        ("insert", "public.drafts", one),
        ("truncate", "public.drafts", {}),
        ("ddl", "public.drafts", {}),
    ]
    by = [(each["operation"], each["name"], each.get("field_manager", "")) for each in found if each["source"] == "agents"]
    assert by == [
        ("added", "new", "deployer (Update)"),
        ("modified", "old", "cook (Update)"),
        ("modified", "new", "runner (Update/status)"),
        ("deleted", "old", ""),
    ]
    assert [each["at"] for each in found[:-1]] == sorted(each["at"] for each in found[:-1])
    first, second = [each for each in found if each.get("transaction") == int(audited.names["XID"])]
    assert first["fields"] == [{"name": "balance", "old": "10", "new": "5"}]
    assert first["at"] == second["at"]
    deleted = next(each for each in found if each["operation"] == "delete")
    assert {field["name"]: field["old"] for field in deleted["fields"]} == {"id": "3", "owner": "x\x1b[2J", "balance": "30", "terms": ""}
    vip = next(each for each in found if each["operation"] == "update" and each["at"] > deleted["at"])
    assert vip["fields"] == [{"name": "note", "new": "vip", "old_known": False}]
    retries = next(each for each in found if each["operation"] == "modified" and each["name"] == "old")
    assert retries["fields"] == [{"name": "spec.retries", "old": 7, "new": 8}]
    assert found[-1]["operation"] == "note"
    assert "public.notes: it has no key" in found[-1]["detail"]
    # Neighbouring spans hold everything once.
    middle = str(deleted["at"])
    halves = audited.log("--from", span[1], "--until", middle) + audited.log("--from", middle, "--until", span[3])
    assert [each for each in halves if each["operation"] != "note"] == [each for each in found if each["operation"] != "note"]
    # Places in the database's own log; what the catalog says has its own, of when it was read.
    by_lsn = audited.log("--source", "db", "--from", deleted["lsn"], "--until", vip["lsn"])
    assert [each for each in by_lsn if "transaction" in each] == [
        each for each in found if "transaction" in each and deleted["at"] < each["at"] <= vip["at"]
    ]


def check_ten_questions(audited: Audited) -> None:
    """Each of the how-to is one command, and its answer is the one that is expected."""
    page = (Path(__file__).parent.parent.parent / "docs/howto/audit.md").read_text()
    commands = [shlex.split(Template(text).substitute(audited.names)) for text in re.findall(r"```sh\narchiver (.*)\n```", page)]
    answers = [audited.commands.call(*words) for words in commands]
    assert [answer.returncode for answer in answers] == [0] * 10, [answer.stderr for answer in answers]
    said = [answer.stdout for answer in answers]
    assert "balance: 10 -> 5" in said[0]
    assert "retries" in said[0]
    assert "x\\x1b[2J" in said[0]
    assert "\x1b" not in said[0]
    assert [line.split()[1] for line in said[1].splitlines() if not line.startswith(" ") and line[0] == "2"] == ["added", "modified"]
    assert "field manager, as claimed: runner (Update/status)" in said[1]
    assert said[2].count("public.accounts") == 2
    for each in ("delete ", "truncate", "drop ", "deleted"):
        assert each in said[3]
    assert "insert" not in said[3]
    assert "spec.retries: 7 -> 8" in said[4]
    assert "added" not in said[4]
    assert "column note text added" in said[5]
    assert "DROP TABLE: table public.drafts" in said[5]
    assert "INSERT" not in said[6]
    assert said[6].count("UPDATE") == 2
    assert "id=2" in said[7]
    assert "id=3" in said[7]
    assert "id=1" not in said[7]
    lines = [line for line in csv.DictReader(io.StringIO(said[8])) if line["field"] == "balance"]
    assert (lines[0]["old"], lines[0]["new"]) == ("10", "5")
    assert said[9].splitlines() == ["note: db: table public.notes: it has no key, so its updates and deletions are not captured"]
    wrong = audited.commands.call("log", "--source", "db", "--source", "agents", "--until", "0/1")
    assert wrong.returncode == 2
    assert "--source" in wrong.stderr
    # It goes on, and ends with whoever reads it.
    follow = [sys.executable, "-m", "archiver", "-c", str(audited.archiver.config), "log", "--follow", "--json", "--from", "1"]
    with subprocess.Popen(follow, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["operation"] == "baseline"
        process.terminate()
        process.wait(30)
