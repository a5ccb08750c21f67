"""How it ends: in order on the first signal, at once on the second, and never later than the grace period."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psycopg
import pytest

from archiver.journal.entry import Kind
from archiver.settings.model import S3
from tests.fixtures.fix_s3 import S3Place
from tests.integration.service.rig import captured, create_table, database_source, headers, kinds_at_end, ready, write
from tests.servers.archiver import Archiver, lsn
from tests.servers.compare import differences
from tests.servers.controlplane import ControlPlane
from tests.servers.http_proxy import HttpFaultProxy
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import FaultProxy
from tests.servers.s3 import S3Server
from tests.servers.transfers import Transfers, create_tables
from tests.servers.worker import Worker

pytestmark = pytest.mark.postgres(18)


def on_s3(server: S3Server, folder: Path) -> tuple[dict[str, object], S3]:
    """``archive`` of the settings for a bucket of this server's own."""
    for name, secret in (("access", server.access_key), ("secret", server.secret_key)):
        (folder / name).write_text(secret)
    options = S3(
        endpoint=server.endpoint,
        allow_http=True,
        access_key=f"file:{folder / 'access'}",
        secret_key=f"file:{folder / 'secret'}",
        read_timeout_seconds=2,
        call_deadline_seconds=3,
    )
    return {"url": f"s3://{server.create_bucket('journal')}/a", "s3": msgspec.to_builtins(options), "instance": "one"}, options


def test_everything_received_is_durable_and_acknowledged(database: str, tmp_path: Path) -> None:
    """After SIGTERM under load the slot confirms exactly the journal's position, the session is closed, and the next one goes on from there."""
    create_tables(database)
    transfers = Transfers(database, 1)
    with Archiver(tmp_path, {"db": database_source(database)}, serve=True) as archiver:
        archiver.start()
        archiver.wait(lambda: archiver.live_source("db").get("checkpoint"), "there is no baseline")
        for _ in range(3):
            with Worker(transfers.step, transfers.pause):
                time.sleep(2)
                assert archiver.stop() == 0
            url = f"file://{tmp_path}/journal"
            durable = headers(url)[-1].sources["db"].position
            with psycopg.connect(database) as connection:
                row = connection.execute(
                    "SELECT confirmed_flush_lsn::text, active FROM pg_replication_slots WHERE database = current_database()"
                )
                confirmed, active = row.fetchone() or ("", None)
            assert lsn(confirmed) == lsn(durable)
            assert not active
            assert kinds_at_end(url)[-1] is Kind.CLOSE
            archiver.start()
            archiver.wait(lambda: archiver.live_source("db").get("state") == "streaming", "it does not stream again")
        assert archiver.stop() == 0
        assert archiver.call("verify").returncode == 0
    transfers.close()


def test_a_store_that_hangs_holds_nobody_up_for_ever(database: str, start_s3: Callable[[], S3Server], tmp_path: Path) -> None:
    """With a frozen store a stop ends at the grace period with exit code 4, a second signal ends it at once; nothing is lost either way."""
    server = start_s3()
    archive, _ = on_s3(server, tmp_path)
    create_table(database)
    with Archiver(tmp_path, {"db": database_source(database)}, archive=archive, serve=True, grace_seconds=4) as archiver:
        archiver.start()
        captured(archiver, "db", database)
        server.freeze()
        write(database, 100)
        time.sleep(1)
        began = time.monotonic()
        assert archiver.stop() == 4
        assert 3.5 < time.monotonic() - began < 20
        assert "sends it again" in archiver.log()
        server.thaw()

        archiver.start()
        captured(archiver, "db", database)
        server.freeze()
        written = write(database, 100)
        time.sleep(1)
        archiver.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        began = time.monotonic()
        assert archiver.stop() == 130
        assert time.monotonic() - began < 3
        server.thaw()

        archiver.start()
        captured(archiver, "db", database)
        assert archiver.stop() == 0
        assert archiver.call("verify").returncode == 0
        assert rows_in(archiver, tmp_path) == written + 1


def rows_in(archiver: Archiver, folder: Path) -> int:
    """Rows of ``note`` as a restore into a folder has them."""
    out = folder / "out"
    restored = archiver.call("restore", "--at", "latest", "--to", str(out), "--json")
    assert restored.returncode == 0, restored.stderr
    report = msgspec.json.decode(restored.stdout)["sources"][0]["report"]
    return sum(table["rows"] for table in report["tables"]) if "tables" in report else int(report["rows"])


def test_waiting_for_another_archiver_can_be_stopped(database: str, tmp_path: Path) -> None:
    """An archiver that waits for another one's archive ends on SIGTERM as one that captures does."""
    create_table(database)
    sources = {"db": database_source(database)}
    first = Archiver(tmp_path, sources, archive={"instance": "first", "takeover_after_seconds": 600})
    second = Archiver(tmp_path, sources, archive={"instance": "second", "takeover_after_seconds": 600}, name="second", serve=True)
    with first, second:
        first.start()
        first.wait_for_baseline("db")
        second.start()
        second.wait(lambda: '"journal_found"' in second.log(), "the second does not look")
        status, body = second.get("/readyz")
        assert status == 503
        assert b"not open" in body
        assert second.get("/livez")[0] == 200
        assert second.stop(10) == 0
        assert first.process.poll() is None
        assert first.stop() == 0


def test_sources_that_hang_hold_nobody_up_for_ever(
    postgres: PostgresServer,
    database: str,
    target_database: str,
    cluster: ControlPlane,
    namespace: str,
    fault_proxy: Callable[[str, int], FaultProxy],
    tmp_path: Path,
) -> None:
    """With silent peers a stop ends within the grace period; what was not acknowledged is captured by the next life."""
    before, behind = fault_proxy("127.0.0.1", postgres.port), fault_proxy("127.0.0.1", cluster.port)
    kubeconfig = cluster.kubeconfig_for(cluster.admin_token, server=f"https://127.0.0.1:{behind.port}")
    agents = {"kubeconfig": str(kubeconfig), "namespaces": [namespace], "resources": ["agents.agents.proompteng.ai"]}
    create_table(database)
    through = database.replace(str(postgres.port), str(before.port))
    sources = {"db": database_source(through), "agents": {"kubernetes": agents}}
    with Archiver(tmp_path, sources, serve=True, grace_seconds=5) as archiver:
        archiver.start()
        archiver.wait(lambda: ready(archiver) == [], "not ready")
        captured(archiver, "db", database)
        for proxy in (before, behind):
            proxy.hang()
        write(database, 10)
        began = time.monotonic()
        assert archiver.stop() in {0, 4}
        assert time.monotonic() - began < 12
        for proxy in (before, behind):
            proxy.reset()
            proxy.cut()
        archiver.start()
        captured(archiver, "db", database, 120)
        archiver.wait(lambda: ready(archiver) == [], "not ready again")
        assert archiver.stop() == 0
        assert archiver.call("verify").returncode == 0
        restored = archiver.call("restore", "--at", "latest", "--to", f"db={target_database}")
        assert restored.returncode == 0, restored.stderr
        assert differences(database, target_database) == []


def test_a_store_that_never_answered_holds_nobody_up(
    database: str, s3_place: S3Place, http_fault_proxy: Callable[[str, int], HttpFaultProxy], tmp_path: Path
) -> None:
    """An archiver whose store hangs while it is probed ends on SIGTERM within the grace period."""
    proxy = http_fault_proxy(s3_place.server.host, s3_place.server.port)
    proxy.hang()
    archive = {"url": s3_place.url, "s3": msgspec.to_builtins(s3_place.options(port=proxy.port, read_timeout_seconds=30))}
    with Archiver(tmp_path, {"db": database_source(database)}, archive=archive, serve=True, grace_seconds=5) as archiver:
        archiver.start()
        archiver.wait(lambda: archiver.get("/livez")[0] == 200, "it does not start")
        time.sleep(1)
        began = time.monotonic()
        assert archiver.stop() == 0
        assert time.monotonic() - began < 8
