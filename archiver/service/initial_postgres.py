"""What ``archiver init`` asks a database: what it holds, and what capture would meet there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg import conninfo

from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.preflight.preflight import preflight
from archiver.capture.postgres.session.access import Access
from archiver.errors import Invalid
from archiver.pages import page
from archiver.postgres.connection_string import without_secrets
from archiver.secrets import Secret
from archiver.settings.draft import SourceDraft, names

if TYPE_CHECKING:
    from archiver.capture.postgres.preflight.preflight import Preflight


async def ask_database(dsn: str) -> SourceDraft:
    """A draft of the source behind ``dsn``, which may be a secret reference. Raises ``Invalid``, ``Refused``, ``Unavailable``."""
    reference = dsn.startswith(("env:", "file:"))
    whole = Secret(dsn, "--postgres").read() if reference else dsn
    try:
        given = conninfo.conninfo_to_dict(whole)
    except psycopg.ProgrammingError:
        hint = "write dbname=shop or postgresql://host/shop"
        raise Invalid("--postgres: libpq does not understand the connection string", hint=hint) from None
    async with await Access.of(whole).connect() as session:
        wish = str(given.get("dbname") or session.info.dbname)
        config = PostgresConfig(dsn=whole, slot=f"archiver_{names([wish])[0].replace('-', '_')}")
        report = await preflight(session, config)
    variable = names([wish])[0].upper().replace("-", "_")
    values: dict[str, str | list[str]] = {}
    notes: dict[str, list[str]] = {}
    hidden = sorted(given.keys() - without_secrets(given).keys())
    if reference:
        values["dsn"] = dsn
    elif hidden in ([], ["password"]):
        values["dsn"] = conninfo.make_conninfo("", **without_secrets(given))
        if hidden:
            values["password"] = f"env:{variable}_PASSWORD"
            notes["password"] = ["The variable, or file:PATH, that has the password. It is read again before each attempt."]
    else:
        values["dsn"] = f"env:{variable}_DSN"
        notes["dsn"] = [f"The variable, or file:PATH, that has the connection string: it holds {', '.join(hidden)}."]
    return SourceDraft(wish=wish, kind="postgres", about=_database(report), values=values, notes={**notes, "": _meets(report)})


def _database(report: Preflight) -> str:
    major, minor = divmod(report.server_version, 10000)
    return f"PostgreSQL {major}.{minor}, database {report.database}, as role {report.role}"


def _meets(report: Preflight) -> list[str]:
    captured = [table for table in report.catalog.tables if table.kind == "r" and table.mode != "excluded"]
    schemas = sorted({table.schema for table in captured})
    counts = ", ".join(f"{name} ({sum(table.schema == name for table in captured)} tables)" for name in schemas)
    modes = {mode: sum(table.mode == mode for table in captured) for mode in ("key", "full", "insert")}
    by_mode = ", ".join(f"{mode}: {number}" for mode, number in modes.items() if number) or "nothing"
    found = [
        f"All schemas but the system's are captured: {counts or 'none has tables yet'}. Fewer:",
        f"schemas: [{', '.join(schemas)}]" if len(schemas) < 20 else "schemas: […]",
        "exclude_tables: [public.cache_*]",
        f"Captured by {by_mode}; schema changes are noticed by {report.ddl}: {page('reference/postgres-preflight.md')}",
    ]
    found += [f"NO: {each.about}: {each.reason}. Remedy: {each.remedy}" for each in report.refusals]
    return found + [f"warning: {each.about}: {each.reason}" for each in report.warnings]
