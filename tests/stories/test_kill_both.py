"""One archive of a database and of custom resources, killed again and again under load; both come back as they were, at two points."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from archiver.clock import SystemClock, to_text
from tests.fixtures.fix_s3 import S3Place
from tests.servers.agents_world import Identity, differences, snapshot
from tests.servers.archiver import Archiver, wait_until_durable, wait_until_observed
from tests.servers.compare import differences as rows_that_differ
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import path
from tests.servers.objects_load import Objects, definitions_of
from tests.servers.postgres import PostgresServer
from tests.servers.transfers import Transfers, create_tables
from tests.servers.worker import Worker

KILLS = 20


@dataclass
class Noted:
    """What both servers held at a point."""

    at: str
    database: str
    """A copy that is not the product's, or the source itself."""
    handed_out: int
    """Of the sequence."""
    objects: dict[Identity, dict[str, Any]]
    definitions: dict[str, Any]


@pytest.mark.postgres(18)
@pytest.mark.timeout(900)
def test_twenty_kills_lose_and_repeat_nothing_of_both(
    postgres: PostgresServer,
    database: str,
    cluster: ControlPlane,
    namespace: str,
    start_cluster: Callable[..., ControlPlane],
    s3_place: S3Place,
    tmp_path: Path,
) -> None:
    """After ``kill -9`` 20 times under load on both, one command restores both as their servers say they were, in the middle and at the end."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    create_tables(database)
    sources = {
        "db": {"postgres": {"dsn": database, "allow_unlimited_wal": True, "poll_seconds": 1}},
        "agents": {"kubernetes": {"kubeconfig": str(cluster.kubeconfig), "namespaces": [namespace], "discovery_seconds": 1}},
    }
    archive = {"url": s3_place.url, "s3": msgspec.to_builtins(s3_place.options()), "instance": "story"}
    transfers, objects = Transfers(database, seed), Objects(cluster, namespace, seed)
    with (
        closing(transfers),
        Archiver(tmp_path, sources, archive=archive, serve=True) as archiver,
        postgres.database() as copied,
        Worker(transfers.step, transfers.pause) as rows,
        Worker(objects.step, objects.pause) as changes,
    ):
        archiver.start()
        archiver.wait(lambda: archiver.live_source("db").get("checkpoint"), "there is no baseline")
        kill_at_random(archiver, chance, KILLS // 2)
        hold(rows, changes)
        noted = objects.settle(archiver, "agents")
        wait_for_rows(archiver, database)
        middle_time = SystemClock().now()
        middle = Noted(to_text(middle_time), postgres.dsn(copied), handed_out(database), noted, definitions_of(cluster))
        copy(postgres, database, middle.database)
        wait_until_observed(archiver, "agents", middle_time)
        rows.go()
        changes.go()
        kill_at_random(archiver, chance, KILLS - KILLS // 2)
        hold(rows, changes)
        end = Noted("latest", database, handed_out(database), objects.settle(archiver, "agents"), definitions_of(cluster))
        wait_for_rows(archiver, database)
        assert archiver.stop() == 0
        print(f"{transfers.commits} commits, {objects.world.count} changes of objects; {len(end.objects)} objects at the end")
        assert transfers.commits > 100
        assert objects.world.count > 100
        assert end.objects != middle.objects

        assert archiver.call("verify").returncode == 0
        for point in (middle, end):
            with fresh(postgres, start_cluster, namespace) as (rows_target, objects_target):
                to = ("--to", f"db={rows_target}", "--to", f"agents=kubeconfig:{objects_target.kubeconfig}")
                restored = archiver.call("restore", "--at", point.at, *to)
                assert restored.returncode == 0, restored.stdout + restored.stderr
                assert "between the sources' last entries" in restored.stdout
                assert wrong_rows(point, rows_target) == []
                assert differences(point.objects, snapshot(objects_target, namespace)) == []
                assert definitions_of(objects_target) == point.definitions
                assert_judges_see_a_change(point, rows_target, objects_target, namespace)


def kill_at_random(archiver: Archiver, chance: random.Random, times: int) -> None:
    """SIGKILL and start again: half of them anywhere in a life, half once it writes, so that slow machines see both."""
    for _ in range(times):
        if chance.random() < 0.5:
            archiver.wait(lambda: archiver.live().get("epoch"), "it does not open its session")
        time.sleep(0.1 + chance.random() * 2)
        archiver.kill()
        archiver.start()


def hold(*loads: Worker) -> None:
    """Return once all stand still."""
    for load in loads:
        load.hold()


def wait_for_rows(archiver: Archiver, database: str) -> None:
    """Until the journal has everything, and has looked at the sequences after that."""
    wait_until_durable(archiver, "db", database)
    time.sleep(3)
    wait_until_durable(archiver, "db", database)


def handed_out(database: str) -> int:
    """The newest value of the sequence."""
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT last_value FROM transfer_id_seq").fetchone()
    assert row is not None
    return int(row[0])


def wrong_rows(point: Noted, restored: str) -> list[str]:
    """What differs. A sequence may be ahead, because sequences are read every now and then only, and never behind."""
    found = [each for each in rows_that_differ(point.database, restored) if not each.startswith("sequences of public.transfer_id_seq")]
    now = handed_out(restored)
    return [*found, f"the sequence would repeat {now}, {point.handed_out} was handed out"] if now < point.handed_out else found


def assert_judges_see_a_change(point: Noted, database: str, plane: ControlPlane, namespace: str) -> None:
    """One figure in one row and one label of one object: the comparisons above were able to fail."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE account SET balance = balance + 1 WHERE id = 100")
    assert len(wrong_rows(point, database)) == 1
    kind, _, name = next(iter(point.objects))
    label = {"metadata": {"labels": {"changed": "yes"}}}
    plane.request("PATCH", path(kind, namespace, name), label, content_type="application/merge-patch+json")
    assert len(differences(point.objects, snapshot(plane, namespace))) == 1


def copy(server: PostgresServer, source: str, target: str) -> None:
    """All of a database, by PostgreSQL's own programs."""
    dumped = subprocess.run([server.bin / "pg_dump", "-Fc", "--no-publications", source], capture_output=True, check=True)
    subprocess.run([server.bin / "pg_restore", "-d", target], input=dumped.stdout, capture_output=True, check=True)


@contextmanager
def fresh(server: PostgresServer, start_cluster: Callable[..., ControlPlane], namespace: str) -> Iterator[tuple[str, ControlPlane]]:
    """An empty database and an API server with nothing in it but the namespace."""
    with server.database() as name, start_cluster() as plane:
        plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        yield server.dsn(name), plane
