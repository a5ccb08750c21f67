"""``archiver restore`` of an archive with both kinds of source: what it refuses before anything is touched, and what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from tests.integration.service.rig import record_both
from tests.servers.archiver import Archiver
from tests.servers.controlplane import ControlPlane
from tests.servers.warm_commands import WarmCommands

pytestmark = pytest.mark.postgres(18)


@pytest.fixture
def recorded(database: str, cluster: ControlPlane, namespace: str, tmp_path: Path) -> Archiver:
    """An archive of three rows and one object; its archiver has stopped."""
    return record_both(database, cluster, namespace, tmp_path)


def test_what_is_refused_touches_nothing(recorded: Archiver, target_database: str, cluster: ControlPlane) -> None:
    """A source without its target, a folder in use, a source's own place: each ends before the other source is restored."""
    used = recorded.folder / "used"
    used.mkdir()
    (used / "file").write_text("x")
    asked = ("restore", "--at", "latest", "--to", f"db={target_database}")
    for more, code, says in (
        (("--to", f"agents={used}"), 3, "not empty"),
        (("--source", "db", "--source", "agents"), 2, "no target for source agents"),
        (("--to", "agent=./out"), 2, "neither a target"),
        (("--to", f"db={used}"), 2, "two targets"),
        (("--to", f"agents=kubeconfig:{recorded.folder / 'nowhere'}"), 2, "kubeconfig"),
        (("--to", f"agents=kubeconfig:{cluster.kubeconfig}"), 3, "captured"),
    ):
        done = recorded.call(*asked, *more)
        assert (done.returncode, says in done.stderr) == (code, True), (more, done.stderr)
        with psycopg.connect(target_database) as connection:
            assert connection.execute("SELECT to_regclass('note')").fetchone() == (None,)


def test_its_own_sources_are_no_targets(recorded: Archiver, database: str, cluster: ControlPlane) -> None:
    """Neither the captured database nor the captured cluster is restored into, and both say why."""
    for target in (f"db={database}", f"agents=kubeconfig:{cluster.kubeconfig}"):
        done = recorded.call("restore", "--at", "latest", "--to", target)
        assert done.returncode == 3, done.stderr
        assert "captured" in done.stderr


def test_its_own_archive_is_no_target(recorded: Archiver) -> None:
    """No restore writes among the objects of the archive that it reads, by whatever path and with --overwrite too."""
    (recorded.folder / "linked").symlink_to(recorded.folder / "journal")
    before = sorted(recorded.folder.rglob("*"))
    with WarmCommands(recorded.config) as commands:
        for place in ("journal", "journal/journal/out", "linked/out"):
            done = commands.call("restore", "--at", "latest", "--overwrite", "--to", f"db={recorded.folder / place}")
            assert (done.returncode, "in the archive itself" in done.stderr) == (3, True), done.stderr
        for option in ("--uid-map", "--left-out"):
            file = recorded.folder / "journal/journal" / ("0" * 16 if option == "--uid-map" else "left")
            done = commands.call("restore", "--at", "latest", "--to", str(recorded.folder / "out"), option, str(file))
            assert (done.returncode, "in the archive itself" in done.stderr) == (3, True), done.stderr
    assert sorted(recorded.folder.rglob("*")) == before


def test_both_into_one_folder(recorded: Archiver) -> None:
    """Each source gets a subfolder; the report says what each did and how far apart their last entries lie."""
    out = recorded.folder / "out"
    done = recorded.call("restore", "--at", "latest", "--to", str(out), "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [each["source"] for each in report["sources"]] == ["db", "agents"]
    assert report["apart_seconds"] >= 0
    assert (out / "db/restore.sql").exists()
    written = [file for file in (out / "agents").rglob("*.yaml") if file.stem == "a"]
    assert len(written) == 1
    assert "limit: 3" in written[0].read_text()
    again = recorded.call("restore", "--at", "latest", "--to", str(out))
    assert again.returncode == 3
    assert "not empty" in again.stderr
    replaced = recorded.call("restore", "--at", "latest", "--to", str(out), "--overwrite")
    assert replaced.returncode == 0, replaced.stderr


def test_a_place_in_the_database_is_one_for_objects_too(recorded: Archiver) -> None:
    """An LSN means the entry of its transaction for the objects; without the database in the plan it means nothing."""
    line = recorded.source("db")
    plan = recorded.call("restore", "--at", line["durable_position"], "--json")
    assert plan.returncode == 0, plan.stderr
    assert [each["source"] for each in json.loads(plan.stdout)["sources"]] == ["db", "agents"]
    alone = recorded.call("restore", "--at", line["durable_position"], "--source", "agents")
    assert alone.returncode == 2
    assert "a place in a database" in alone.stderr


def test_a_plan_needs_no_target(recorded: Archiver) -> None:
    """Without --to the plan of every source is printed and nothing happens."""
    done = recorded.call("restore", "--at", "latest")
    assert done.returncode == 0, done.stderr
    assert "db -> no target" in done.stdout
    assert "agents -> no target" in done.stdout
    assert "apart" in done.stdout


def test_a_plan_leaves_the_map_of_an_earlier_restore_alone(recorded: Archiver, cluster: ControlPlane) -> None:
    """--uid-map is written by a restore, never by a plan; a file that cannot be written is refused before anything is touched."""
    uids = recorded.folder / "uids.json"
    uids.write_text('{"old": "new"}')
    for plan in (["--dry-run", "--into-source", "--to", f"kubeconfig:{cluster.kubeconfig}"], []):
        done = recorded.call("restore", "--at", "latest", "--uid-map", str(uids), *plan)
        assert done.returncode == 0, done.stderr
        assert uids.read_text() == '{"old": "new"}'
    out = recorded.folder / "out"
    refused = recorded.call("restore", "--at", "latest", "--to", str(out), "--uid-map", str(recorded.folder / "none/uids.json"))
    assert refused.returncode == 2, refused.stderr
    assert not out.exists()
