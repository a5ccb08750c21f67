"""Lines of a database's settings that select nothing: found before a start, and while it is captured."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Literal

from archiver.capture.postgres.catalog.redaction import Before, Redaction
from archiver.capture.postgres.catalog.scope import Scope
from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.preflight.findings import Finding
from archiver.capture.postgres.session.access import Session
from archiver.postgres.records import Catalog

UNMATCHED = "selects_nothing"
"""Code of the findings about lines of the settings that match nothing."""
_ELSEWHERE = "it hid a column of the database that was captured until now, and matches none of this one: its values would be captured"
_SPELLING = "correct the name in the settings, or leave it when what it names is still to come"


def unmatched_selectors(schemas: Collection[str], catalog: Catalog, config: PostgresConfig) -> Iterator[Finding]:
    """Lines of the settings that match nothing, one finding each: they may be misspelt. ``schemas``: all that the database has."""
    level: Literal["refused", "warning"] = "refused" if config.strict else "warning"
    for name in config.schemas:
        if name not in schemas:
            reason = "the database has no schema of that name: nothing is captured for it"
            yield Finding(UNMATCHED, f"schemas: {name}", reason, _SPELLING, level)
    for text in config.exclude_tables:
        pattern = Scope(exclude_tables=[text])
        if all(pattern.covers(table.schema, table.name) for table in catalog.tables):
            yield Finding(UNMATCHED, f"exclude_tables: {text}", "it matches no table: nothing is left out for it", _SPELLING, level)


def unmatched_redaction(catalog: Catalog, config: PostgresConfig, *, before: Before | None) -> Iterator[Finding]:
    """Lines of ``redact`` that hide nothing. One that is misspelt would have the value captured: so a history does not begin with it, nor
    goes on at another system with one that hid something. ``before``: of the journal; ``None``: it has no history yet.
    """
    level: Literal["refused", "warning"] = "warning" if before is not None and not config.strict else "refused"
    for line in Redaction(config.redact).unmatched(catalog):
        if before is not None and line in before.owed:
            yield Finding(UNMATCHED, f"redact: {line}", _ELSEWHERE, "write the line with the name that the column has here")
            continue
        yield Finding(UNMATCHED, f"redact: {line}", "it matches no column: nothing is hidden for it", _SPELLING, level)


async def unmatched_now(session: Session, catalog: Catalog, config: PostgresConfig) -> list[str]:
    """The lines alone, with ``catalog``, the newest that is known. Raises ``psycopg.Error``."""
    hiding = [finding.about for finding in unmatched_redaction(catalog, config, before=Before(catalog))]
    if not config.schemas and not config.exclude_tables:
        return hiding
    rows = await (await session.execute(b"SELECT nspname::text FROM pg_catalog.pg_namespace")).fetchall()
    return [finding.about for finding in unmatched_selectors({name for (name,) in rows}, catalog, config)] + hiding
