"""Maintenance while capture runs: it is done, it is told, and whatever happens to it holds up no commit."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from archiver.clock import SystemClock
from archiver.journal.keys import CHECKPOINTS
from archiver.maintenance.folded import MOST_ENTRIES
from archiver.service.maintainer import Maintainer
from archiver.service.service import Service
from archiver.service.sources import build_sources
from archiver.service.status import SourceLine, problems
from archiver.settings import Settings
from tests.integration.service.rig import captured, create_table, database_source, write
from tests.integration.service.test_isolation import running, settings, until
from tests.servers.archiver import Archiver
from tests.servers.controlplane import ControlPlane

pytestmark = pytest.mark.postgres(18)

OFTEN: dict[str, Any] = {"restore_time_objective": 1e-6, "interval_seconds": 0.2, "behind_seconds": 0, "rest_ratio": 0}
"""Whatever stands behind a checkpoint is folded at once."""

HELD = """
import pathlib, sys
from archiver.maintenance import folding
from archiver.service import maintenance_process
gate, put = pathlib.Path(sys.argv[1]), folding.put_once
async def held(store, clock, key, data):
    gate.with_suffix('.reached').touch()
    while not gate.exists():
        pass
    return await put(store, clock, key, data)
folding.put_once = held
sys.exit(maintenance_process.main())
"""
"""A fold that has come to its end, and takes a whole processor until the file is there."""


def folding_service(values: Settings, program: Sequence[str | Path]) -> Service:
    service = Service(values, SystemClock(), build_sources)
    service.maintainer = Maintainer(values, service.clock, program=[sys.executable, *map(str, program)])
    return service


def line(service: Service) -> SourceLine:
    return next((each for each in service.status().sources if each.name == "db"), SourceLine(name="db", kind="postgres"))


async def written_through(service: Service, dsn: str, work: asyncio.Task[None]) -> None:
    """Return once something written now is durable."""
    before = line(service).newest_change
    await asyncio.to_thread(write, dsn)
    await until(lambda: line(service).newest_change > before, work)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_what_is_captured_is_folded(database: str, cluster: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """A database and a cluster: the status, the metrics and the plan of a restore name the checkpoint."""
    create_table(database)
    kubernetes = {"kubeconfig": str(cluster.kubeconfig), "namespaces": [namespace], "resources": ["agents.agents.proompteng.ai"]}
    sources = {"db": database_source(database), "agents": {"kubernetes": kubernetes}}
    with Archiver(tmp_path, sources, serve=True, maintenance=OFTEN) as archiver:
        archiver.start()
        captured(archiver, "db", database)
        archiver.wait(lambda: archiver.live_source("db").get("folded"), "nothing was folded")
        before = archiver.live_source("db")
        write(database, 5)
        archiver.wait(lambda: (archiver.live_source("db").get("folded") or 0) > before["folded"], "nothing more was folded")
        now = archiver.live_source("db")
        assert (now["fold_failures"], now["state"]) == (0, "streaming")
        stream = f"agents/agents.proompteng.ai/agents@{namespace}"
        archiver.wait(lambda: archiver.live_source(stream).get("folded"), "the cluster was not folded")
        assert archiver.live_source(stream)["fold_failures"] == 0
        assert now["folded_time"] > before["folded_time"] > 0
        metrics = dict(each.rsplit(" ", 1) for each in archiver.get("/metrics")[1].decode().splitlines() if not each.startswith("#"))
        assert float(metrics['archiver_source_folds_total{source="db"}']) >= 2
        assert float(metrics['archiver_source_folded_checkpoint_timestamp_seconds{source="db"}']) * 1e6 >= now["folded_time"]
        assert float(metrics['archiver_source_tail_seconds{source="db"}']) >= 0
        assert archiver.stop() == 0
        offline = archiver.source("db")
        assert offline["folded"] >= now["folded"]
        assert (offline["folds"], offline["tail_seconds"] >= 0) == (None, True)
        assert "ago" in archiver.call("status", "--offline", "--wide").stdout
        planned = archiver.call("restore", "--source", "db", "--at", "latest", "--dry-run", "--to", f"{tmp_path}/out")
        assert "(folded)" in planned.stdout, planned


async def test_commits_go_on_while_a_fold_runs(database: str, tmp_path: Path) -> None:
    """A fold that takes a whole processor and does not end delays nothing; what it made in the end serves."""
    create_table(database)
    gate, reached = tmp_path / "gate", tmp_path / "gate.reached"
    service = folding_service(settings(database, tmp_path, maintenance=OFTEN), ["-c", HELD, gate])
    async with running(service) as work:
        await until(lambda: line(service).checkpoint > 0, work)
        await written_through(service, database, work)
        await until(reached.exists, work)
        for _ in range(5):
            await written_through(service, database, work)
        assert problems(service.status(), 60) == []
        assert line(service).folds == 0
        gate.touch()
        await until(lambda: line(service).folded > 0, work)
        assert line(service).folds > 0


async def test_a_stop_ends_a_fold(database: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The process is gone with the service, nothing is published, and the stop is a clean one."""
    create_table(database)
    reached = tmp_path / "gate.reached"
    service = folding_service(settings(database, tmp_path, maintenance=OFTEN), ["-c", HELD, tmp_path / "gate"])
    async with running(service) as work:
        await until(lambda: line(service).checkpoint > 0, work)
        await written_through(service, database, work)
        await until(reached.exists, work)
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert [pid for pid in children if not gone(int(pid)) and "gate" in Path(f"/proc/{pid}/cmdline").read_text()] == []
    assert not list(tmp_path.glob(f"journal/{CHECKPOINTS}**/*.json"))


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("raise SystemExit(3)", "ended with 3"),
        ("import os; os.kill(os.getpid(), 9)", "ended with -9"),
        ("print('what?')", "not understood"),
        ('print(\'{"failure": "the store is away"}\'); raise SystemExit(1)', "the store is away"),
        ("import time; held = b'x' * (300 << 20); time.sleep(600)", "more than 128 MiB"),
    ],
)
async def test_a_fold_that_fails_costs_a_line(database: str, tmp_path: Path, program: str, problem: str) -> None:
    """It is counted and told, and tried again; capture goes on, and its readiness is its own."""
    create_table(database)
    values = settings(database, tmp_path, maintenance={**OFTEN, "memory_bytes": 128 << 20})
    service = folding_service(values, ["-c", program])
    async with running(service) as work:
        await until(lambda: line(service).fold_failures >= 2, work)
        await written_through(service, database, work)
        assert problem in line(service).folding_problem
        assert problems(service.status(), 60) == []
        halved = service.maintainer.known["db"].folding.most_entries < MOST_ENTRIES
        assert halved == ("MiB" in problem)


ONLY_FILES: dict[str, Any] = {"enabled": False, "history_files": True, "interval_seconds": 0.2, "rest_ratio": 0}


def test_history_files_follow_what_is_captured(database: str, cluster: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """A database and a cluster, where they are asked for: the status and the metrics say how far they reach, and `log` has an answer."""
    create_table(database)
    kubernetes = {"kubeconfig": str(cluster.kubeconfig), "namespaces": [namespace], "resources": ["agents.agents.proompteng.ai"]}
    sources = {"db": database_source(database), "agents": {"kubernetes": kubernetes}}
    with Archiver(tmp_path, sources, serve=True, maintenance=ONLY_FILES) as archiver:
        archiver.start()
        captured(archiver, "db", database)
        archiver.wait(lambda: archiver.live_source("db").get("history_entry"), "no history files")
        before = archiver.live_source("db")
        write(database, 5)
        archiver.wait(lambda: archiver.live_source("db")["history_time"] > before["history_time"], "they did not go on")
        now = archiver.live_source("db")
        assert (now["history_failures"], now["history_problem"], now["folded"], now["folds"]) == (0, "", None, 0)
        assert now["history_records"] > before["history_records"] > 0
        stream = f"agents/agents.proompteng.ai/agents@{namespace}"
        archiver.wait(lambda: archiver.live_source(stream).get("history_entry"), "the cluster has no history files")
        metrics = dict(each.rsplit(" ", 1) for each in archiver.get("/metrics")[1].decode().splitlines() if not each.startswith("#"))
        assert float(metrics['archiver_source_history_timestamp_seconds{source="db"}']) * 1e6 >= now["history_time"] - 1
        assert float(metrics['archiver_source_history_records_total{source="db"}']) >= now["history_records"]
        assert archiver.stop() == 0
        assert archiver.source("db")["history_records"] is None


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("import os; os.kill(os.getpid(), 9)", "the history process ended with -9"),
        ("import time; held = b'x' * (300 << 20); time.sleep(600)", "the history process took more than 128 MiB"),
        ('print(\'{"filed": {"source": "db", "done": true, "reason": "of another journal"}}\')', "of another journal"),
    ],
)
async def test_history_files_that_fail_cost_a_line(database: str, tmp_path: Path, program: str, problem: str) -> None:
    """It is told, and tried again; folding and capture go on."""
    create_table(database)
    limits = {**OFTEN, "history_files": True, "memory_bytes": 128 << 20, "restore_time_objective": 3600}
    service = folding_service(settings(database, tmp_path, maintenance=limits), ["-c", program])
    async with running(service) as work:
        await until(lambda: line(service).history_problem != "", work)
        await written_through(service, database, work)
        assert problem in line(service).history_problem
        assert line(service).fold_failures == 0
        assert problems(service.status(), 60) == []


async def test_a_program_that_is_not_there_costs_a_line(database: str, tmp_path: Path) -> None:
    """As any other failure."""
    create_table(database)
    values = settings(database, tmp_path, maintenance=OFTEN)
    service = Service(values, SystemClock(), build_sources)
    service.maintainer = Maintainer(values, service.clock, program=[str(tmp_path / "none")])
    async with running(service) as work:
        await until(lambda: line(service).fold_failures > 0, work)
        assert "cannot be started" in line(service).folding_problem
        await written_through(service, database, work)


async def test_off_means_that_nothing_is_looked_at(tmp_path: Path) -> None:
    """Where something else folds, `run` asks nothing of the store for it."""
    values = settings("host=nowhere", tmp_path, maintenance={"enabled": False})
    await asyncio.wait_for(Maintainer(values, SystemClock()).run(), 10)
