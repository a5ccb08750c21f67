"""What `check` tells an administrator to paste, where names were chosen by an attacker; and that it is enough."""

from __future__ import annotations

import json
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import yaml
from psycopg import sql

from archiver.postgres.pasteable import identifier, literal, statement
from archiver.terminal import HIDDEN
from tests.integration.service.rig import captured, create_table, database_source
from tests.servers.archiver import Archiver
from tests.servers.controlplane import ControlPlane
from tests.servers.postgres import PostgresServer

HOSTILE = [
    "public TO keeper; ALTER ROLE mallory SUPERUSER; --",
    'a"; ALTER ROLE mallory SUPERUSER; --',
    "a\n\\! touch PWNED\n",
    "a\r\\! touch PWNED",
    "\x1b[2J\x1b]0;owned\x07",
    "$(touch PWNED)",
    "`touch PWNED`",
    "$$; ALTER ROLE mallory SUPERUSER; $$",
    ":'x' :\"y\" \\gexec",
    "\u202eRESUREPUS\u2066",
    "\\",
    "a' || pg_sleep(9) || '",
    "Order",
    "é\u0085\u2028",
]


@pytest.mark.postgres(15, 18)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_quoted_name_is_that_name(database: str, name: str) -> None:
    """One line without hidden characters, that PostgreSQL reads back as the same name, literal and statement."""
    assert not HIDDEN.search(identifier(name) + literal(name))
    made = sql.SQL("CREATE TEMP TABLE {} (x int)").format(sql.Identifier(name))
    with psycopg.connect(database, autocommit=True) as session:
        session.execute(statement(made.as_string(session)).encode())
        session.execute(f"INSERT INTO {identifier(name)} VALUES (1)".encode())
        found = session.execute("SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema() AND relkind = 'r'").fetchall()
        assert found == [(name[:63],)]
        assert session.execute(f"SELECT {literal(name)}".encode()).fetchone() == (name,)
        for conforming in ("on", "off"):
            session.execute(f"SET standard_conforming_strings = {conforming}".encode())
            assert session.execute(f"SELECT {literal(name)}".encode()).fetchone() == (name,)


@pytest.fixture
def roles(postgres: PostgresServer) -> Iterator[tuple[str, str]]:
    """One that captures and one that attacks, without rights. Their names need quotes."""
    tag = uuid.uuid4().hex[:6]
    keeper, mallory = f'Keeper"; {tag}', f"mallory_{tag}"
    with postgres.connect() as session:
        for role in (keeper, mallory):
            session.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
    yield keeper, mallory
    with postgres.connect() as session:
        for role in (keeper, mallory):
            session.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def login(database: str, role: str) -> str:
    return psycopg.conninfo.make_conninfo(database, user=role)


@pytest.mark.postgres(15, 16, 18)
def test_the_printed_rights_are_safe_and_enough(postgres: PostgresServer, database: str, roles: tuple[str, str], tmp_path: Path) -> None:
    """Pasted whole into psql by a superuser they give the role what capture needs, and the attacker nothing. Again they are harmless."""
    keeper, mallory = roles
    name = database.rsplit("/", 1)[1]
    admin = psycopg.connect(database, autocommit=True)
    admin.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(sql.Identifier(name), sql.Identifier(mallory)))
    create_table(database)
    with psycopg.connect(login(database, mallory), autocommit=True) as session:
        for number, evil in enumerate(HOSTILE):
            text = evil.replace("mallory", mallory).replace("PWNED", str(tmp_path / "pwned"))[:50]
            schema, table = sql.Identifier(text), sql.Identifier(text, text)
            session.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
            session.execute(sql.SQL("CREATE TABLE {} ({} serial PRIMARY KEY, v int)").format(table, sql.Identifier(text[:40])))
            session.execute(sql.SQL("INSERT INTO {} (v) VALUES ({})").format(table, number))
        session.execute(sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(table))
        session.execute(sql.SQL("CREATE TABLE {}.keyless (v int)").format(schema))
        session.execute(sql.SQL("CREATE UNLOGGED TABLE {}.unlogged (v int)").format(schema))
        session.execute(sql.SQL("CREATE TABLE {}.root (id int PRIMARY KEY) PARTITION BY RANGE (id)").format(schema))
        session.execute(sql.SQL("CREATE TABLE {0}.leaf PARTITION OF {0}.root FOR VALUES FROM (0) TO (9)").format(schema))
        session.execute(sql.SQL("CREATE MATERIALIZED VIEW {}.mat AS SELECT 1 AS a").format(schema))
    dsn = login(database, keeper)
    archiver = Archiver(tmp_path, {"db": database_source(dsn, ddl="poll")}, serve=True)
    found = archiver.call("check")
    assert found.returncode == 3
    assert not HIDDEN.search((found.stdout + found.stderr).replace("\n", ""))
    checks = json.loads(archiver.call("check", "--json").stdout)
    [apply] = [check["apply"] for check in checks if check["apply"]]
    assert apply in found.stdout
    psql = postgres.bin / "psql"
    printed = re.findall(r"(?m)^(?:GRANT|ALTER|CREATE) .*;$", apply)
    assert printed
    for _ in range(2):
        pasted = subprocess.run([psql, "-X", "-d", database], input=apply, capture_output=True, text=True, check=True)
        assert "invalid" not in pasted.stderr
        apply = "\n".join(line for line in apply.splitlines() if not line.startswith("CREATE PUBLICATION")) + "\n"
    # So is each remedy, as one line.
    for check in checks:
        pasted = subprocess.run([psql, "-X", "-d", database], input=check["remedy"] + "\n;\n", capture_output=True, text=True, check=True)
        assert "invalid command" not in pasted.stderr
    assert admin.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", [mallory]).fetchone() == (False,)
    assert not list(tmp_path.glob("pwned*"))
    rights = "SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = %s"
    assert admin.execute(rights, [keeper]).fetchone() == (False,)
    assert admin.execute("SELECT has_table_privilege(%s, 'note', 'INSERT,UPDATE,DELETE,TRUNCATE')", [keeper]).fetchone() == (False,)
    with archiver:
        again = archiver.call("check")
        assert again.returncode == 0, again.stdout
        archiver.start()
        captured(archiver, "db", database)
        assert archiver.stop() == 0
        shown = archiver.call("show", "--source", "db", "--table", "public.note", "--key", "id=1")
        assert shown.returncode == 0, shown.stderr
    assert not HIDDEN.search(archiver.log().replace("\n", ""))
    with psycopg.connect(database, autocommit=True) as session:
        session.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()")
        session.execute(sql.SQL("DROP OWNED BY {}, {} CASCADE").format(*map(sql.Identifier, roles)))
    admin.close()


def test_the_printed_roles_are_enough(cluster: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """For a ServiceAccount without rights: applied as they are, `check` refuses nothing more, and objects are captured."""
    meta = {"name": "keeper", "namespace": namespace}
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
    kubeconfig = cluster.kubeconfig_for(cluster.service_account_token(namespace, "keeper"))
    source = {"kubernetes": {"kubeconfig": str(kubeconfig), "namespaces": [namespace], "resources": ["*.tools.proompteng.ai"]}}
    archiver = Archiver(tmp_path, {"agents": source}, serve=True)
    first = archiver.call("check", "--json")
    [apply] = [check["apply"] for check in json.loads(first.stdout) if check["apply"]]
    assert any("may not list" in check["text"] for check in json.loads(first.stdout))
    documents = list(yaml.safe_load_all(apply))
    assert {document["kind"] for document in documents} == {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
    verbs = {verb for document in documents for rule in document.get("rules", []) for verb in rule["verbs"]}
    assert verbs <= {"get", "list", "watch"}
    cluster.apply(*documents)
    with archiver:
        again = archiver.call("check", "--json")
        assert again.returncode == 0, again.stdout
        assert not any("may not" in check["text"] for check in json.loads(again.stdout))
        archiver.start()
        archiver.wait_for_baseline(f"agents/tools.proompteng.ai/tools@{namespace}")
        assert archiver.stop() == 0
