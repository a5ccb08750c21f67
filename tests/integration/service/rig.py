"""What the tests of the running service share: sources as settings name them, and what a journal and a log say afterwards."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import psycopg

from archiver.journal.entry import Kind
from archiver.journal.keys import segment_key
from archiver.journal.reader import Reader
from archiver.journal.segment import SegmentHeader
from archiver.settings.model import S3
from archiver.store.open import open_store
from tests.servers.archiver import Archiver, wait_until_durable
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, path

QUICK: dict[str, Any] = {"retry_seconds": 0.2, "retry_limit_seconds": 1}
"""Pauses between attempts that tests can wait for."""


def database_source(dsn: str, **more: Any) -> dict[str, Any]:
    """One database, as the settings have it."""
    return {"postgres": {"dsn": dsn, "allow_unlimited_wal": True, "poll_seconds": 1, **more}}


def create_table(dsn: str) -> None:
    """``note``: what ``write`` fills."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE note (id bigserial PRIMARY KEY, text text)")


def write(dsn: str, rows: int = 1) -> int:
    """One transaction; how many rows there are then."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("INSERT INTO note (text) SELECT 'n' || g FROM generate_series(1, %s) g", [rows])
        found = connection.execute("SELECT count(*) FROM note").fetchone()
    assert found is not None
    return int(found[0])


def captured(archiver: Archiver, name: str, dsn: str, timeout: float = 60) -> None:
    """Return once there is a baseline and something written just now is durable."""
    archiver.wait(lambda: archiver.live_source(name).get("checkpoint"), f"{name} has no baseline", timeout)
    write(dsn)
    wait_until_durable(archiver, name, dsn, timeout)


def events(archiver: Archiver, name: str) -> list[dict[str, Any]]:
    """What it logged under one event name."""
    lines = (json.loads(line) for line in archiver.log().splitlines() if line.startswith("{"))
    return [line for line in lines if line.get("event") == name]


def headers(url: str, s3: S3 | None = None) -> list[SegmentHeader]:
    """Every segment's header, in order."""

    async def read() -> list[SegmentHeader]:
        store = await open_store(url, s3 or S3())
        try:
            reader = Reader(store)
            return [header for slot in range(await reader.last() + 1) if (header := await reader.header(slot)) is not None]
        finally:
            await store.close()

    return asyncio.run(read())


def kinds_at_end(url: str) -> list[Kind]:
    """Kinds of the runs of the last segment."""

    async def read() -> list[Kind]:
        store = await open_store(url, S3())
        try:
            reader = Reader(store)
            return [placed.run.kind async for placed in reader.read(await reader.last())]
        finally:
            await store.close()

    return asyncio.run(read())


def record_both(database: str, cluster: ControlPlane, namespace: str, folder: Path) -> Archiver:
    """An archive of a table and one object; its archiver has stopped."""
    create_table(database)
    cluster.request("POST", path("Agent", namespace), custom_resource("Agent", namespace, "a", {"limit": 3}))
    kubernetes = {"kubeconfig": str(cluster.kubeconfig), "namespaces": [namespace], "resources": ["agents.agents.proompteng.ai"]}
    archiver = Archiver(folder, {"db": database_source(database), "agents": {"kubernetes": kubernetes}}, serve=True)
    with archiver:
        archiver.start()
        stream = f"agents/agents.proompteng.ai/agents@{namespace}"
        archiver.wait(lambda: archiver.live_source(stream).get("checkpoint"), "no list")
        captured(archiver, "db", database)
        assert archiver.stop() == 0
    return archiver


def segment_file(archiver: Archiver, slot: int) -> Path:
    """A segment of a journal in the archiver's own folder."""
    return archiver.folder / "journal" / segment_key(slot)


def until(condition: Any, what: str, seconds: float = 60) -> None:
    """Poll ``condition``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.1)


def ready(archiver: Archiver) -> list[str] | None:
    """Problems that ``/readyz`` names; none when it says 200; ``None`` while nobody listens."""
    status, body = archiver.get("/readyz")
    if not status:
        return None
    answer = json.loads(body)
    assert (status == 200) == answer["ready"] == (not answer["problems"])
    return list(answer["problems"])
