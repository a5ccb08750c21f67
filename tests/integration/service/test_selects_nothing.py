"""Lines of the settings that select nothing are said by check, log, readiness and a metric, as long as they do; strict settings refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.service.rig import captured, create_table, database_source, events
from tests.servers.archiver import Archiver
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import TEXT, definition

WRONG: dict[str, Any] = {"schemas": ["public", "pubilc"], "exclude_tables": ["public.nothing_*", "public.left_*"]}
NAMED = {"schemas: pubilc", "exclude_tables: public.nothing_*"}


def warned(archiver: Archiver, named: set[str]) -> list[str]:
    """``check`` warns of these; the subjects of all its lines."""
    lines = {line["subject"]: line["level"] for line in json.loads(archiver.call("check", "--json").stdout)}
    assert {subject: lines.get(subject) for subject in named} == dict.fromkeys(named, "warning")
    return list(lines)


def said(archiver: Archiver, source: str, line: str, named: set[str]) -> bool:
    """Whether readiness, the metric and the status of ``line`` name exactly these."""
    told = [each for each in json.loads(archiver.get("/readyz")[1] or b"{}").get("not_captured", []) if each.startswith(f"{source}: ")]
    metric = f'archiver_source_unmatched_selectors{{source="{line}"}} {len(named)}.0'
    return (
        set(told) == {f"{source}: {each}: it selects nothing" for each in named}
        and metric in archiver.get("/metrics")[1].decode()
        and set(archiver.live_source(line).get("unmatched") or []) == named
    )


def refuses(folder: Path, source: dict[str, Any], name: str, named: str) -> None:
    """``check`` and ``run`` both end with exit code 3 and say the line."""
    folder.mkdir()
    with Archiver(folder, {name: source}) as archiver:
        done = archiver.call("check")
        assert (done.returncode, named in done.stdout) == (3, True), done.stdout
        archiver.start()
        assert archiver.process.wait(60) == 3
        assert named in archiver.log()


@pytest.mark.postgres(18)
def test_a_misspelt_schema_or_table_of_a_database_is_said_everywhere(database: str, tmp_path: Path) -> None:
    """What exists is captured; nobody may think that the rest is. What comes later is not called missing, and what goes is."""
    create_table(database)
    with psycopg.connect(database) as session:
        session.execute("CREATE TABLE left_out (id int PRIMARY KEY)")
    with Archiver(tmp_path, {"db": database_source(database, poll_seconds=0.5, **WRONG)}, serve=True) as archiver:
        assert "exclude_tables: public.left_*" not in warned(archiver, NAMED)
        archiver.start()
        captured(archiver, "db", database)
        assert {line["selector"] for line in events(archiver, "selects_nothing")} == NAMED
        archiver.wait(lambda: said(archiver, "db", "db", NAMED), "not said")
        with psycopg.connect(database, autocommit=True) as session:
            session.execute("CREATE SCHEMA pubilc; CREATE TABLE nothing_much (id int PRIMARY KEY)")
            archiver.wait(lambda: said(archiver, "db", "db", set()), "still said")
            session.execute("ALTER SCHEMA pubilc RENAME TO other; DROP TABLE left_out")
        archiver.wait(lambda: said(archiver, "db", "db", {"schemas: pubilc", "exclude_tables: public.left_*"}), "not said of what is gone")
        assert archiver.stop() == 0
    refuses(tmp_path / "strict", database_source(database, strict=True, **WRONG), "db", "schemas: pubilc")


def test_a_misspelt_kind_group_or_namespace_of_a_cluster_is_said_everywhere(
    start_cluster: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    """The same for objects: once a definition or a namespace is there, its line is no longer called wrong, until it goes again."""
    plane = start_cluster(definitions=[definition("quiet.org", "Widget", {"text": TEXT})])
    source = {
        "resources": ["*.quiet.org", "widgest.quiet.org", "*.quite.org"],
        "namespaces": ["default", "defualt"],
        "kubeconfig": str(plane.kubeconfig),
        "discovery_seconds": 0.5,
    }
    named = {"resources: widgest.quiet.org", "resources: *.quite.org", "namespaces: defualt"}
    stream = "k/quiet.org/widgets@default"
    with Archiver(tmp_path, {"k": {"kubernetes": source}}, serve=True) as archiver:
        assert "resources: *.quiet.org" not in warned(archiver, named)
        archiver.start()
        archiver.wait(lambda: said(archiver, "k", stream, named), "not said")
        assert {line["selector"] for line in events(archiver, "selects_nothing")} == named
        assert archiver.get("/readyz")[0] == 200
        later = definition("quite.org", "Later", {"text": TEXT})
        plane.apply(later, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "defualt"}})
        archiver.wait(lambda: said(archiver, "k", stream, {"resources: widgest.quiet.org"}), "still said")
        plane.request("DELETE", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{later['metadata']['name']}")
        archiver.wait(lambda: said(archiver, "k", stream, named - {"namespaces: defualt"}), "not said of what is gone")
        assert archiver.stop() == 0
    refuses(tmp_path / "strict", {"kubernetes": {**source, "strict": True}}, "k", "widgest.quiet.org")


def test_strict_settings_are_not_ready_when_what_they_name_goes(start_cluster: Callable[..., ControlPlane], tmp_path: Path) -> None:
    """Nothing ends for that, but nobody may think that the backup is what was asked for."""
    kinds = [definition("quiet.org", kind, {"text": TEXT}) for kind in ("Widget", "Other")]
    plane = start_cluster(definitions=kinds)
    lines = ["widgets.quiet.org", "others.quiet.org"]
    source = {"resources": lines, "kubeconfig": str(plane.kubeconfig), "discovery_seconds": 0.5, "strict": True}
    with Archiver(tmp_path, {"k": {"kubernetes": source}}, serve=True) as archiver:
        archiver.start()
        archiver.wait(lambda: archiver.get("/readyz")[0] == 200, "not ready")
        plane.request("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/others.quiet.org")
        archiver.wait(lambda: archiver.get("/readyz")[0] == 503, "still ready")
        problem = "k: resources: others.quiet.org: it selects nothing"
        archiver.wait(lambda: problem in json.loads(archiver.get("/readyz")[1])["problems"], "not said")
        plane.apply(kinds[1])
        archiver.wait(lambda: archiver.get("/readyz")[0] == 200, "not ready again")
        assert archiver.stop() == 0


@pytest.mark.postgres(18)
def test_a_redacted_column_that_is_not_found_after_a_move_is_refused(database: str, target_database: str, tmp_path: Path) -> None:
    """``check`` says it before, and ``run`` captures nothing: under another name its values would be in the archive."""
    for dsn, name in ((database, "secret"), (target_database, "renamed")):
        create_table(dsn)
        with psycopg.connect(dsn) as session:
            session.execute(f"ALTER TABLE note ADD {name} text".encode())
    line = {"redact": ["public.note.secret"]}
    with Archiver(tmp_path, {"db": database_source(database, **line)}, serve=True) as archiver:
        archiver.start()
        captured(archiver, "db", database)
        assert archiver.stop() == 0
        assert archiver.call("check").returncode == 0
    moved = database_source(target_database, adopt_new_system=True, slot="archiver_moved", **line)
    with Archiver(tmp_path, {"db": moved}, serve=True) as archiver:
        told = "redact: public.note.secret"
        done = archiver.call("check")
        assert (done.returncode, told in done.stdout) == (3, True), done.stdout
        archiver.start()
        assert archiver.process.wait(60) == 3
        assert f"{told}: it hid a column of the database that was captured until now" in archiver.log()
