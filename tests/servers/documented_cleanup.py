"""The SQL by which the docs take the archiver's own things out of a database, run as somebody would who pastes it into psql."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg

ROOT = Path(__file__).parents[2]
RUNBOOK, HOWTO = ROOT / "docs/runbooks/disable.md", ROOT / "docs/howto/prepare-postgres.md"


def documented() -> list[str]:
    """The runbook's statements, for source ``<source>``; the how-to has the same, for source ``db``."""
    (line,) = re.findall(r"`(SELECT pg_drop_replication_slot[^`]*)`", RUNBOOK.read_text())
    return [statement.strip() for statement in line.split(";") if statement.strip()]


def clean_up(dsn: str, slot: str, schema: str = "archiver") -> list[str]:
    """Run each statement by itself, on to the next where one fails. ``schema``: where ours is. Returns the SQLSTATE of each failure."""
    failed: list[str] = []
    with psycopg.connect(dsn, autocommit=True) as session:
        for statement in documented():
            told = statement.replace("archiver_<source>", slot)
            told = told.replace("archiver.announce", f"{schema}.announce").replace("SCHEMA archiver", f"SCHEMA {schema}")
            try:
                session.execute(told.encode())
            except psycopg.Error as error:
                failed.append(error.sqlstate or "")
    return failed
