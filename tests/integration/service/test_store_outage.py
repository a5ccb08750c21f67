"""Object storage goes away for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from archiver.clock import SystemClock
from archiver.journal.writer import Writer, WriterLimits
from archiver.settings.model import S3
from archiver.store.open import open_store
from tests.fixtures.fix_s3 import S3Place
from tests.integration.service.rig import captured, create_table, database_source, ready, write
from tests.servers.archiver import Archiver, wait_until_durable
from tests.servers.compare import differences
from tests.servers.http_proxy import HttpFaultProxy

pytestmark = pytest.mark.postgres(18)


@pytest.mark.parametrize("fault", ["refused", "silent", "503", "404", "403", "400"])
def test_nothing_is_lost_while_the_store_is_away(
    database: str,
    target_database: str,
    s3_place: S3Place,
    http_fault_proxy: Callable[[str, int], HttpFaultProxy],
    tmp_path: Path,
    fault: str,
) -> None:
    """While the store refuses, hangs or fails, /readyz says so and the database is not held up; afterwards everything is there."""
    proxy = http_fault_proxy(s3_place.server.host, s3_place.server.port)
    options = s3_place.options(port=proxy.port, read_timeout_seconds=1.0, call_deadline_seconds=2.0)
    archive = {"url": s3_place.url, "s3": msgspec.to_builtins(options)}
    create_table(database)
    sources = {"db": database_source(database)}
    with Archiver(tmp_path, sources, archive=archive, serve=True, web={"rpo_seconds": 5}) as archiver:
        archiver.start()
        archiver.wait(lambda: ready(archiver) == [], "not ready")
        if fault == "refused":
            proxy.refuse()
            proxy.cut()
        elif fault == "silent":
            proxy.hang()
        else:
            # 404 is what an ingress answers that has lost its gateway, 400 what some answer to a body that broke off.
            proxy.answer(int(fault), times=None, body=b"<html>no S3 answer at all</html>")
        for _ in range(10):
            write(database, 50)
            time.sleep(0.2)
        archiver.wait(lambda: any("last durable" in problem for problem in ready(archiver) or []), "/readyz does not tell")
        # What was on its way when the store went may still have become durable; from here on, nothing can.
        before = archiver.live()
        write(database, 50)
        archiver.wait(lambda: archiver.live()["age_seconds"] > before["age_seconds"] + 3, "the age does not grow")
        assert archiver.live()["last_entry"] == before["last_entry"]
        assert archiver.get("/livez")[0] == 200
        proxy.reset()
        archiver.wait(lambda: ready(archiver) == [], "not ready again")
        captured(archiver, "db", database)
        wait_until_durable(archiver, "db", database)
        assert archiver.live_source("db")["failures"] == 0
        assert archiver.stop() == 0
        assert archiver.call("verify").returncode == 0
        restored = archiver.call("restore", "--at", "latest", "--to", target_database)
        assert restored.returncode == 0, restored.stderr
        assert differences(database, target_database) == []


class _Ahead(SystemClock):
    """A machine whose clock is a day ahead."""

    def now(self) -> int:
        return super().now() + 86_400_000_000


async def _write_ahead(url: str, options: S3) -> None:
    store = await open_store(url, options)
    try:
        writer = await Writer.open(store, _Ahead(), instance="ahead", version="0", sources={}, limits=WriterLimits())
        await writer.close()
    finally:
        await store.close()


def test_a_journal_from_the_future_hides_no_outage(
    database: str, s3_place: S3Place, http_fault_proxy: Callable[[str, int], HttpFaultProxy], tmp_path: Path
) -> None:
    """Where an earlier writer's clock was a day ahead, /readyz and the metric still say how long nothing has become durable."""
    asyncio.run(_write_ahead(s3_place.url, s3_place.options()))
    proxy = http_fault_proxy(s3_place.server.host, s3_place.server.port)
    options = s3_place.options(port=proxy.port, read_timeout_seconds=1.0, call_deadline_seconds=2.0)
    archive = {"url": s3_place.url, "s3": msgspec.to_builtins(options)}
    create_table(database)
    with Archiver(tmp_path, {"db": database_source(database)}, archive=archive, serve=True, web={"rpo_seconds": 5}) as archiver:
        archiver.start()
        archiver.wait(lambda: ready(archiver) == [], "not ready")
        proxy.refuse()
        proxy.cut()
        archiver.wait(lambda: any("last durable" in problem for problem in ready(archiver) or []), "/readyz does not tell", 20)
        assert archiver.live()["age_seconds"] > 5
        proxy.reset()
        archiver.wait(lambda: ready(archiver) == [], "not ready again")
        assert archiver.stop() == 0
        assert archiver.call("verify").returncode == 0
