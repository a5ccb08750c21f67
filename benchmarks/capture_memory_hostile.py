"""``capture.memory.hostile``: peak resident memory of ``archiver run`` over what the largest units of a source are.

    python -m benchmarks.capture_memory_hostile [scale]

A database with 25 000 tables of which a message of 1 GB (of text), a row of 1 GB that the server cannot send, one that it can and one of
the largest size that is received come through the stream; and a cluster with 1 000 objects of 1.4 MB. Each must be behind before the bench
ends. ``scale`` (1): of the numbers of tables and objects. The bound is the memory limit of the chart.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from archiver.postgres.lsn import parse_position
from benchmarks.capture_memory import peak, wait
from benchmarks.capturing import VERSION, scratch
from benchmarks.report import emit
from tests.servers.archiver import Archiver
from tests.servers.controlplane import ControlPlane
from tests.servers.postgres import PostgresServer

BOUND_MB = (768 << 20) / 1e6
TABLES, OBJECTS = 25_000, 1_000
LIMIT_SECONDS = 600
UNITS = {
    "message": "SELECT pg_logical_emit_message(false, 'anything', repeat('x', 1000000000))",
    "unsendable": "INSERT INTO blob VALUES (1, convert_to(repeat('x', 1000000000), 'UTF8'))",
    "row": "INSERT INTO blob VALUES (2, convert_to(repeat('x', 400000000), 'UTF8'))",
    "largest": "INSERT INTO blob VALUES (3, convert_to(repeat('x', 33000000), 'UTF8'))",
}


def database(scale: float) -> dict[str, float]:
    """The peak after each unit, megabytes."""
    options = {"max_slot_wal_keep_size": "8GB", "max_locks_per_transaction": "1024", "fsync": "off"}
    found: dict[str, float] = {}
    with PostgresServer.start(VERSION, options) as server, scratch() as folder:
        server.execute("CREATE TABLE blob (id int PRIMARY KEY, data bytea)", "CREATE TABLE other (id serial PRIMARY KEY)")
        with psycopg.connect(server.dsn(), autocommit=True) as session:
            for first in range(0, int(TABLES * scale), 500):
                loop = f"FOR i IN {first}..{first + 499} LOOP EXECUTE 'CREATE TABLE t' || i || ' (id int)'; END LOOP"
                session.execute(f"DO $$ BEGIN {loop}; END $$".encode())
        archiver = Archiver(folder, {"db": {"postgres": {"dsn": server.dsn()}}})
        archiver.start()
        try:
            until(archiver, lambda: bool((archiver.source("db") or {}).get("checkpoint")))
            found["tables"] = peak(archiver.process.pid)
            for name, statement in UNITS.items():
                server.execute(statement, "INSERT INTO other DEFAULT VALUES")
                with server.connect() as session:
                    row = session.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
                assert row is not None
                wait(archiver, parse_position(row[0]))
                found[name] = peak(archiver.process.pid)
            archiver.stop()
        finally:
            archiver.kill()
    return found


def cluster(scale: float) -> float:
    """The peak over a list of objects of the largest size, and over as many events."""
    count = max(10, int(OBJECTS * scale))
    path = "/api/v1/namespaces/default/configmaps"
    text = random.Random(1).randbytes(500_000).hex()

    def create(number: int) -> None:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"large-{number}"}, "data": {"unsendable": text[number:]}}
        plane.request("POST", path, body)

    with ControlPlane.start(etcd_flags=["--quota-backend-bytes=8589934592"]) as plane, scratch() as folder:
        for number in range(count // 2):
            create(number)
        source = {"kubernetes": {"resources": ["configmaps"], "kubeconfig": str(plane.kubeconfig)}}
        archiver = Archiver(folder, {"kube": source})
        archiver.start()
        try:
            until(archiver, lambda: archiver.log_file.read_text().count('"listed"') >= 1)
            for number in range(count // 2, count):
                create(number)
            time.sleep(5)
            most = peak(archiver.process.pid)
            archiver.stop()
        finally:
            archiver.kill()
    return most


def until(archiver: Archiver, condition: Callable[[], bool]) -> None:
    """Wait for it; the log's end where it does not come."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        if time.monotonic() > deadline or archiver.process.poll() is not None:
            raise SystemExit(f"the archiver did not get there:\n{Path(archiver.log_file).read_text()[-2000:]}")
        time.sleep(0.2)


def main(scale: float) -> None:
    """All of it; the worst counts."""
    found = database(scale) | {"objects": cluster(scale)}
    rounded = {name: round(value, 1) for name, value in found.items()}
    emit("capture.memory.hostile", max(found.values()), "MB", peer="promised bound", peer_value=BOUND_MB, less_is_better=True, **rounded)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
