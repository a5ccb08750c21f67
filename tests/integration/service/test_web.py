"""Probes, status and metrics of a running archiver, both kinds of source captured."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.service.rig import captured, create_table, database_source, ready
from tests.servers.archiver import Archiver
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, path
from tests.servers.postgres import PostgresServer
from tests.servers.process import free_port

REFERENCE = Path(__file__).parents[3] / "docs/reference/metrics.md"

pytestmark = pytest.mark.postgres(18)


@pytest.fixture
def bounded(postgres: PostgresServer, start_postgres: Callable[..., PostgresServer]) -> str:
    """A database whose server keeps a bounded amount of WAL for slots, as every production server should."""
    dsn = start_postgres(postgres.version, {"max_slot_wal_keep_size": "1GB"}).dsn()
    create_table(dsn)
    return dsn


@pytest.fixture
def both(bounded: str, cluster: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Archiver]:
    """An archiver of a database and a namespace, ready."""
    sources = {
        "db": database_source(bounded),
        "agents": {
            "kubernetes": {"kubeconfig": str(cluster.kubeconfig), "namespaces": [namespace], "resources": ["agents.agents.proompteng.ai"]}
        },
    }
    with Archiver(tmp_path, sources, serve=True) as archiver:
        archiver.start()
        archiver.wait(lambda: ready(archiver) == [], "not ready", 90)
        yield archiver
        if archiver.process.poll() is None:
            assert archiver.stop() == 0


def samples(archiver: Archiver) -> dict[tuple[str, ...], float]:
    """(name, label values…) -> value."""
    status, body = archiver.get("/metrics")
    assert status == 200
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            key = (sample.name, *(sample.labels[label] for label in sorted(sample.labels, reverse=True)))
            assert key not in found
            found[key] = sample.value
    return found


def documented() -> dict[str, list[str]]:
    """Name -> labels, from the reference."""
    rows = re.findall(r"^\| `((?:archiver|process)_\w+)` \| \w+ \| ([\w, ]*) ?\|", REFERENCE.read_text(), re.MULTILINE)
    return {name: [label.strip() for label in labels.split(",") if label.strip()] for name, labels in rows}


def test_every_documented_metric_is_there_and_no_other(both: Archiver, bounded: str) -> None:
    """/metrics parses, has every name of the reference with its labels and nothing else, and each is of a sane size."""
    captured(both, "db", bounded)
    both.wait(lambda: ("archiver_source_lag_bytes", "db") in samples(both), "the slot has not been looked at")
    both.wait(
        lambda: {"db", "agents"} <= {key[1].partition("/")[0] for key in samples(both) if "tail_seconds" in key[0]}, "no tail is known"
    )
    found = samples(both)
    histogram = re.compile(r"(archiver_(?:commit|put)_seconds)_(?:bucket|sum|count)")
    # These settings ask for no history files: how far those reach is not known, and left out.
    assert {histogram.sub(r"\1", key[0]) for key in found} == set(documented()) - {"archiver_source_history_timestamp_seconds"}
    commits, puts = found["archiver_commit_seconds_count",], found["archiver_put_seconds_count",]
    assert 0 < commits <= puts
    assert found["archiver_commit_seconds_bucket", "+Inf"] == commits
    assert 0 < found["archiver_commit_seconds_sum",] < 60 * commits
    assert found["process_resident_memory_bytes",] > 10 << 20
    assert 3 < found["process_open_fds",] < found["process_max_fds",]
    stream = next(key[1] for key in found if key[0] == "archiver_source_up" and "/agents@" in key[1])
    for source in ("db", stream):
        assert found["archiver_source_up", source] == 1
        assert found["archiver_source_baseline", source] == 1
        assert 0 <= found["archiver_source_rpo_seconds", source] < 120
        assert found["archiver_source_gaps_total", source] == 0
        assert found["archiver_source_failures_total", source] == 0
    assert 0 <= found["archiver_last_commit_age_seconds",] < 30
    assert found["archiver_epoch",] == 1
    assert found["archiver_last_entry",] > 0
    assert found["archiver_source_retained_wal_bytes", "db"] >= 0
    assert 0 < found["archiver_source_safe_wal_bytes", "db"] <= 1.1 * (1 << 30)
    assert found["archiver_source_entries_total", "db"] > 0
    assert found["archiver_source_bytes_total", "db"] > 0
    assert time.time() - 60 < found["archiver_source_newest_change_timestamp_seconds", "db"] <= time.time() + 1  # noqa: TID251
    assert found["archiver_source_restarts_total", stream, "list_start"] == 1
    assert found["archiver_drill_last_success_timestamp_seconds",] == 0


def test_status_says_what_metrics_say(both: Archiver, cluster: ControlPlane, namespace: str) -> None:
    """/status and `archiver status` show both kinds: positions, baselines, and the lag that only the source itself knows."""
    made: dict[str, Any] = cluster.request("POST", path("Agent", namespace), custom_resource("Agent", namespace, "a"))
    version = int(made["metadata"]["resourceVersion"])
    stream = f"agents/agents.proompteng.ai/agents@{namespace}"
    both.wait(lambda: int(both.live_source(stream)["durable_position"]) >= version, "the object is not captured")
    live = both.live()
    assert live["archive"]
    assert live["epoch"] == 1
    assert {line["kind"] for line in live["sources"]} == {"postgres", "kubernetes"}
    asked = both.call("status", "--json")
    assert asked.returncode == 0, asked.stderr
    shown = json.loads(asked.stdout)
    line = next(line for line in shown["sources"] if line["name"] == "db")
    assert line["state"] == "streaming"
    assert line["lag_bytes"] is not None
    assert line["retained_bytes"] is not None
    assert {line["name"] for line in shown["sources"]} == {line["name"] for line in live["sources"]}
    table = both.call("status", "--wide")
    assert table.returncode == 0
    assert stream in table.stdout
    both.wait(lambda: ready(both) == [], "not ready")
    told = both.call("status", "--check")
    assert told.returncode == 0, told.stdout
    lines = {words[0]: words for line in told.stdout.splitlines() if (words := line.split())}
    assert (lines["db"][1], lines["agents"][1]) == ("streaming", "streaming")
    assert lines["agents"][-1] == "never"
    assert max(map(len, told.stdout.splitlines()[3:])) <= 80
    report = json.loads(both.call("status", "--check", "--json").stdout)
    assert report["problems"] == []
    began = report["summary"][1]["restorable_from"]
    assert 0 < began <= report["last_commit"]
    assert both.stop() == 0
    told = both.call("status", "--check")
    assert told.returncode == 1
    assert "problem  db: stopped: nobody reads slot" in told.stdout
    assert both.call("status").returncode == 0
    stopped = json.loads(both.call("status", "--json").stdout)
    line = next(line for line in stopped["sources"] if line["name"] == "db")
    assert line["state"] == "stopped"
    assert "nobody reads slot" in line["problem"]
    assert line["checkpoint"]
    assert json.loads(both.call("status", "--offline", "--json").stdout)["sources"]


def test_a_source_that_cannot_be_asked_is_no_error_of_status(postgres: PostgresServer, database: str, tmp_path: Path) -> None:
    """`archiver status` shows what the journal knows also while the database is away, and says why the rest is missing."""
    create_table(database)
    with Archiver(tmp_path, {"db": database_source(database)}) as archiver:
        archiver.start()
        archiver.wait_for_baseline("db")
        assert archiver.stop() == 0
    gone = Archiver(tmp_path, {"db": database_source(database.replace(str(postgres.port), str(free_port())))})
    shown = gone.call("status", "--json")
    assert shown.returncode == 0, shown.stderr
    line = json.loads(shown.stdout)["sources"][0]
    assert line["checkpoint"]
    assert line["problem"]


def test_no_journal_is_told_plainly(database: str, tmp_path: Path) -> None:
    """`archiver status` on an empty place says that there is no journal; exit code 2."""
    archiver = Archiver(tmp_path, {"db": database_source(database)})
    shown = archiver.call("status")
    assert shown.returncode == 2
    assert "journal" in shown.stderr


def test_rights_that_are_missing_for_definitions_do_not_make_it_unready(cluster: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """A namespaced installation may not read definitions: that is a warning, not a reason to say that the backup does not work."""
    cluster.apply(*reader_of(namespace))
    kubeconfig = cluster.kubeconfig_for(cluster.service_account_token(namespace, "keeper"), namespace=namespace)
    source = {"kubernetes": {"kubeconfig": str(kubeconfig), "namespaces": [namespace], "resources": ["agents.agents.proompteng.ai"]}}
    with Archiver(tmp_path, {"agents": source}, serve=True) as archiver:
        archiver.start()
        archiver.wait(lambda: ready(archiver) == [], "not ready")
        found = samples(archiver)
        assert [value for key, value in found.items() if key[0] == "archiver_source_up"] == [1.0]
        line = next(line for line in archiver.live()["sources"] if "customresourcedefinitions" in line["name"])
        assert line["state"] == "ended"
        assert line["problem"]
        assert archiver.stop() == 0


def reader_of(namespace: str) -> list[dict[str, Any]]:
    """A service account that may read agents of its namespace and nothing else."""
    rule = {"apiGroups": ["agents.proompteng.ai"], "resources": ["agents"], "verbs": ["get", "list", "watch"]}
    api = "rbac.authorization.k8s.io"
    metadata = {"name": "keeper", "namespace": namespace}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": metadata, "rules": [rule]},
        {
            "apiVersion": f"{api}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": api, "kind": "Role", "name": "keeper"},
            "subjects": [{"kind": "ServiceAccount", "name": "keeper", "namespace": namespace}],
        },
    ]


def test_a_source_that_was_taken_out_of_the_settings_is_not_missed(database: str, target_database: str, tmp_path: Path) -> None:
    """What an archive holds of a source that is not configured any more neither makes it unready nor lets an alert ring."""
    for dsn in (database, target_database):
        create_table(dsn)
    with Archiver(tmp_path, {"db": database_source(database), "old": database_source(target_database)}, serve=True) as archiver:
        archiver.start()
        archiver.wait(lambda: ready(archiver) == [], "not ready")
        assert archiver.stop() == 0
    with Archiver(tmp_path, {"db": database_source(database)}, serve=True) as archiver:
        archiver.start()
        archiver.wait(lambda: ready(archiver) == [], "not ready")
        assert archiver.live_source("old")["state"] == "ended"
        assert ("archiver_source_rpo_seconds", "old") not in samples(archiver)
        assert archiver.stop() == 0


def test_an_address_in_use_is_a_wrong_setting(database: str, tmp_path: Path) -> None:
    """A port that is taken ends the start with exit code 2 and its name; no capture begins unseen."""
    create_table(database)
    with Archiver(tmp_path, {"db": database_source(database)}, serve=True) as first:
        first.start()
        first.wait(lambda: first.get("/livez")[0] == 200, "not alive")
        folder = tmp_path / "second"
        folder.mkdir()
        with Archiver(folder, {"db": database_source(database)}, web={"listen": f"127.0.0.1:{first.port}"}) as second:
            second.start()
            assert second.process.wait(60) == 2
            assert f"127.0.0.1:{first.port}" in second.log()
        assert first.stop() == 0
