"""A source that fails is tried again and does not stop the others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest

from tests.integration.service.rig import QUICK, captured, create_table, database_source, events, ready
from tests.servers.archiver import Archiver
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, path
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import FaultProxy

pytestmark = pytest.mark.postgres(18)


def test_a_wrong_password_is_no_reason_to_stop_the_others(
    postgres: PostgresServer, database: str, start_postgres: Callable[..., PostgresServer], tmp_path: Path
) -> None:
    """A source with a wrong password is tried again while the other goes on, named by /readyz and status, and comes back once it is right.

    A password that is rotated, at the server and in its file, is taken over.
    """
    locked = start_postgres(postgres.version)
    locked.execute("CREATE ROLE keeper LOGIN SUPERUSER PASSWORD 'right'", "CREATE TABLE note (id bigserial PRIMARY KEY, text text)")
    rules = locked.data / "pg_hba.conf"
    rules.write_text("host all keeper 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
    locked.execute("SELECT pg_reload_conf()")
    create_table(database)
    secret = tmp_path / "password"
    secret.write_text("not-the-password-7")
    other = database_source(locked.dsn().replace("postgres@", "keeper@"), password=f"file:{secret}")
    with Archiver(tmp_path, {"good": database_source(database), "locked": other}, serve=True, **QUICK) as archiver:
        archiver.start()
        archiver.wait(lambda: archiver.live_source("good").get("checkpoint"), "the good source has no baseline")
        archiver.wait(lambda: archiver.live_source("locked").get("failures", 0) >= 3, "the bad source is not tried again")
        captured(archiver, "good", database)
        line = archiver.live_source("locked")
        assert line["state"] == "failed"
        assert "password authentication failed" in line["problem"]
        problems = ready(archiver)
        assert problems is not None
        assert [problem for problem in problems if problem.startswith("locked: failed: ")] == problems
        assert "not-the-password-7" not in archiver.log()
        locked.execute("ALTER ROLE keeper PASSWORD 'not-the-password-7'")
        archiver.wait(lambda: ready(archiver) == [], "it does not come back")
        assert archiver.live_source("locked")["checkpoint"]
        locked.execute(
            "ALTER ROLE keeper PASSWORD 'rotated-8'",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'keeper'",
        )
        archiver.wait(lambda: archiver.live_source("locked").get("state") == "failed", "the old password is still let in")
        secret.write_text("rotated-8")
        archiver.wait(lambda: ready(archiver) == [], "it does not take the rotated password over")
        assert archiver.stop() == 0


def test_a_server_that_is_down_is_tried_again_ever_more_slowly(
    postgres: PostgresServer, database: str, target_database: str, fault_proxy: Callable[[str, int], FaultProxy], tmp_path: Path
) -> None:
    """While a server is away attempts come at bounded intervals, the other source streams, and what was written meanwhile is captured."""
    proxy = fault_proxy("127.0.0.1", postgres.port)
    away = target_database
    for dsn in (database, away):
        create_table(dsn)
    sources = {"good": database_source(database), "away": database_source(away.replace(str(postgres.port), str(proxy.port)))}
    with Archiver(tmp_path, sources, serve=True, **QUICK) as archiver:
        archiver.start()
        archiver.wait(lambda: ready(archiver) == [], "not ready")
        proxy.refuse()
        proxy.cut()
        archiver.wait(lambda: archiver.live_source("away").get("failures", 0) >= 5, "it is not tried again")
        captured(archiver, "good", database)
        assert archiver.live_source("away")["state"] != "streaming"
        times = [event["timestamp"] for event in events(archiver, "source_failed") if event["source"] == "away"]
        assert len(times) == len(set(times)) >= 5
        with psycopg.connect(away) as connection:
            connection.execute("INSERT INTO note (text) VALUES ('meanwhile')")
        proxy.accept()
        captured(archiver, "away", away)
        archiver.wait(lambda: ready(archiver) == [], "not ready again")
        line = archiver.live_source("away")
        assert line["gaps"] == 0
        assert line["restarts"]["unavailable"] >= 5
        assert archiver.stop() == 0


def test_an_api_server_that_is_away_is_tried_again(
    database: str, cluster: ControlPlane, namespace: str, fault_proxy: Callable[[str, int], FaultProxy], tmp_path: Path
) -> None:
    """Away from the start or later, an API server is tried again and named by /readyz while the database goes on; nothing is missed."""
    proxy = fault_proxy("127.0.0.1", cluster.port)
    proxy.refuse()
    create_table(database)
    kubeconfig = cluster.kubeconfig_for(cluster.admin_token, server=f"https://127.0.0.1:{proxy.port}")
    agents = {"kubeconfig": str(kubeconfig), "namespaces": [namespace], "resources": ["agents.agents.proompteng.ai"]}
    stream = f"agents/agents.proompteng.ai/agents@{namespace}"

    def create(name: str) -> int:
        made = cluster.request("POST", path("Agent", namespace), custom_resource("Agent", namespace, name))
        return int(made["metadata"]["resourceVersion"])

    def is_named() -> bool:
        return any(problem.startswith("agents") and "failed" in problem for problem in ready(archiver) or [])

    def reached(version: int) -> bool:
        return int(archiver.live_source(stream).get("durable_position") or 0) >= version

    with Archiver(tmp_path, {"db": database_source(database), "agents": {"kubernetes": agents}}, serve=True, **QUICK) as archiver:
        archiver.start()
        archiver.wait(lambda: archiver.live_source("agents").get("failures", 0) >= 3, "it is not tried again")
        captured(archiver, "db", database)
        assert is_named()
        version = create("before")
        proxy.accept()
        archiver.wait(lambda: ready(archiver) == [] and reached(version), "it does not come")
        proxy.refuse()
        proxy.cut()
        version = create("meanwhile")
        archiver.wait(is_named, "nobody notices")
        captured(archiver, "db", database)
        proxy.accept()
        archiver.wait(lambda: ready(archiver) == [] and reached(version), "it does not come back")
        assert archiver.live_source(stream)["gaps"] == 0
        assert archiver.stop() == 0


def test_the_pause_between_attempts_doubles(postgres: PostgresServer, tmp_path: Path) -> None:
    """The pause before the next attempt doubles up to the limit, give or take a quarter, so an endless failure costs little."""
    nowhere = postgres.dsn("nowhere").replace(str(postgres.port), "1")
    with Archiver(tmp_path, {"away": database_source(nowhere)}, serve=True, retry_seconds=0.5, retry_limit_seconds=2) as archiver:
        archiver.start()
        archiver.wait(lambda: archiver.live_source("away").get("failures", 0) >= 5, "it is not tried again")
        times = [datetime.fromisoformat(event["timestamp"]) for event in events(archiver, "source_failed")]
        pauses = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
        assert [pause > least for pause, least in zip(pauses, (0.37, 0.75, 1.5, 1.5), strict=False)] == [True] * 4
        assert archiver.stop() == 0


def test_nothing_left_to_capture_ends_it_with_the_reason(database: str, tmp_path: Path) -> None:
    """When every source is refused the process ends with exit code 3 and says why and what to do."""
    create_table(database)
    with Archiver(tmp_path, {"db": {"postgres": {"dsn": database}}}, **QUICK) as archiver:
        archiver.start()
        assert archiver.process.wait(60) == 3
        assert "max_slot_wal_keep_size" in archiver.log()
        assert "hint: " in archiver.log()
