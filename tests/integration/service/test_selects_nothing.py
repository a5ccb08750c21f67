"""Lines of the settings that select nothing are said by check, log, readiness and a metric; strict settings refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.service.rig import captured, create_table, database_source, events
from tests.servers.archiver import Archiver

pytestmark = pytest.mark.postgres(18)

WRONG: dict[str, Any] = {"schemas": ["public", "pubilc"], "exclude_tables": ["public.nothing_*", "public.left_*"]}
NAMED = {"schemas: pubilc", "exclude_tables: public.nothing_*"}


def test_a_misspelt_schema_or_table_of_a_database_is_said_everywhere(database: str, tmp_path: Path) -> None:
    """What exists is captured; nobody may think that the rest is."""
    create_table(database)
    with psycopg.connect(database) as session:
        session.execute("CREATE TABLE left_out (id int PRIMARY KEY)")
    with Archiver(tmp_path, {"db": database_source(database, **WRONG)}, serve=True) as archiver:
        lines = {line["subject"]: line["level"] for line in json.loads(archiver.call("check", "--json").stdout)}
        assert {subject: lines[subject] for subject in NAMED} == dict.fromkeys(NAMED, "warning")
        assert "exclude_tables: public.left_*" not in lines
        archiver.start()
        captured(archiver, "db", database)
        assert {line["selector"] for line in events(archiver, "selects_nothing")} == NAMED
        said = json.loads(archiver.get("/readyz")[1])["not_captured"]
        assert all(any(selector in line for line in said) for selector in NAMED), said
        assert b'archiver_source_unmatched_selectors{source="db"} 2.0' in archiver.get("/metrics")[1]
        assert set(archiver.live_source("db")["unmatched"]) == NAMED
    (tmp_path / "strict").mkdir()
    strict = {"db": database_source(database, strict=True, **WRONG)}
    with Archiver(tmp_path / "strict", strict) as archiver:
        done = archiver.call("check")
        assert done.returncode == 3
        assert "schemas: pubilc" in done.stdout
