"""Clocks that are set while capture runs: the source's, and the archiver's own. Times that a user gives mean what they say, or are refused."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from archiver.clock import SystemClock, to_text
from tests.integration.service.rig import captured, create_table, database_source, events
from tests.servers.archiver import Archiver
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, path

HOUR = 3_600_000_000
CLOCKED = """
import pathlib, sys, time
import archiver.clock
offset = pathlib.Path(sys.argv.pop(1))
archiver.clock.SystemClock.now = lambda self: time.time_ns() // 1000 + int(offset.read_text() or 0) * 1_000_000
from archiver.__main__ import main
main()
"""
"""The archiver on a machine whose clock is ahead by as many seconds as a file says."""


def rows(folder: Path) -> set[str]:
    """Texts of the rows of ``note`` in a restored folder."""
    (file,) = (found for found in (folder / "rows").rglob("*") if "note" in found.name)
    return {line.split("\t")[1] for line in file.read_text().splitlines() if line[:1].isdigit()}


@pytest.mark.postgres(15, 18)
def test_a_databases_clock_that_was_ahead_makes_no_time_wrong(database: str, tmp_path: Path) -> None:
    """Its commits say that they are of an hour later, then it is set right: a time after that is refused and not answered with the state
    from before, a place is answered; how old the journal is stays known; and the step is told.

    Commit times can be chosen in a session of a replication origin, as subscriptions do.
    """
    create_table(database)
    origin = f"ahead_{database.rsplit('/', 1)[1]}"
    with (
        Archiver(tmp_path, {"db": database_source(database)}, serve=True) as archiver,
        psycopg.connect(database, autocommit=True) as session,
    ):

        def write(text: str) -> str:
            session.execute("INSERT INTO note (text) VALUES (%s)", [text])
            return str(session.execute("SELECT pg_current_wal_insert_lsn()").fetchall()[0][0])

        archiver.start()
        captured(archiver, "db", database)
        write("before")
        session.execute("SELECT pg_replication_origin_create(%s)", [origin])
        session.execute("SELECT pg_replication_origin_session_setup(%s)", [origin])
        with session.transaction():
            session.execute("SELECT pg_replication_origin_xact_setup('0/1', %s)", [to_text(SystemClock().now() + HOUR)])
            write("ahead")
        session.execute("SELECT pg_replication_origin_session_reset()")
        session.execute("SELECT pg_replication_origin_drop(%s)", [origin])
        place = write("after")
        time.sleep(1.5)
        at = to_text(SystemClock().now())
        time.sleep(1.5)
        write("last")
        captured(archiver, "db", database)
        archiver.wait(lambda: events(archiver, "source_clock_step"), "the step is not told")
        assert 0 <= archiver.live_source("db")["rpo_seconds"] < 60
        assert archiver.stop() == 0
    refused = archiver.call("restore", "--at", at, "--to", str(tmp_path / "refused"))
    assert (refused.returncode, "clock was set back" in refused.stderr) == (3, True), refused.stdout + refused.stderr
    assert "clock_step" in archiver.call("restore", "--at", at, "--dry-run").stdout
    for point, wanted in ((place, {"before", "ahead", "after"}), ("latest", {"before", "ahead", "after", "last"})):
        folder = tmp_path / point.replace("/", "-")
        done = archiver.call("restore", "--at", point, "--to", str(folder))
        assert done.returncode == 0, done.stderr
        assert rows(folder) >= wanted
        assert ("last" in rows(folder)) == ("last" in wanted)


def test_the_archivers_clock_that_jumps_for_a_while_changes_nothing(cluster: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """A day ahead for some seconds: objects that come meanwhile and afterwards are found by the time at which they came."""
    place, offset, wrapper = path("Tool", namespace), tmp_path / "offset", tmp_path / "clocked.py"
    wrapper.write_text(CLOCKED)
    offset.write_text("0")
    stream = f"k/tools.proompteng.ai/tools@{namespace}"
    kubernetes = {"resources": ["tools.tools.proompteng.ai"], "namespaces": [namespace], "kubeconfig": str(cluster.kubeconfig)}

    def create(name: str) -> None:
        made = cluster.request("POST", place, custom_resource("Tool", namespace, name, {"image": "a"}))
        version = int(made["metadata"]["resourceVersion"])
        archiver.wait(lambda: int(archiver.live_source(stream).get("durable_position") or 0) >= version, f"{name} is not captured")

    def steps() -> list[float]:
        return [line["seconds"] for line in events(archiver, "clock_step")]

    with Archiver(tmp_path, {"k": {"kubernetes": kubernetes}}, serve=True) as archiver:
        command = [sys.executable, str(wrapper), str(offset), "-c", str(archiver.config), "run"]
        with archiver.log_file.open("ab") as log:
            archiver.process = subprocess.Popen(command, stdout=log, stderr=log)
        archiver.wait(lambda: archiver.live_source(stream).get("checkpoint"), "no list")
        create("before")
        offset.write_text("86400")
        archiver.wait(steps, "the step is not told")
        create("during")
        offset.write_text("0")
        archiver.wait(lambda: len(steps()) == 2, "its end is not told")
        assert (round(steps()[0], -1), steps()[1]) == (86400, 0)
        create("after")
        time.sleep(1.2)
        at = to_text(SystemClock().now())
        time.sleep(1.2)
        cluster.request("DELETE", f"{place}/before")
        archiver.wait(
            lambda: "DELETED" in archiver.call("log", "--source", "k", "--object", f"tools/{namespace}/before").stdout, "not gone"
        )
        assert 0 <= archiver.live_source(stream)["rpo_seconds"] < 60
        assert archiver.stop() == 0
    for point, wanted in ((at, {"before", "during", "after"}), ("latest", {"during", "after"})):
        done = archiver.call("restore", "--at", point, "--to", str(tmp_path / point), "--json")
        assert done.returncode == 0, done.stderr
        assert {file.stem for file in (tmp_path / point / "objects").rglob("*.yaml")} == wanted
    doubts = json.loads(archiver.call("restore", "--at", at, "--dry-run", "--json").stdout)["sources"][0]["doubts"]
    assert not [doubt for doubt in doubts if "set forward" in doubt], "the clock came back before that time"
