"""The types of columns that are made in a target beside what lives there: no value of theirs may run code of users.

A domain's checks would run with the rights of whoever restores, so its values come as the type that it is made over. What the target does
not have, or what holds domains deeper inside, comes as text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from archiver.postgres.records import Column

if TYPE_CHECKING:
    from archiver.replay.postgres.write.target_database import Connection

_FIRST_OF_USERS = 16384

_TYPE = """
WITH RECURSIVE base (type, modifier, depth) AS (
    SELECT t.oid, -1, 0 FROM pg_type t WHERE t.oid = pg_catalog.to_regtype(%s)
    UNION ALL
    SELECT t.typbasetype, t.typtypmod, b.depth + 1 FROM base b JOIN pg_type t ON t.oid = b.type WHERE t.typtype = 'd'
), plain (type, modifier, depth) AS (
    SELECT type, modifier, depth FROM base ORDER BY depth DESC LIMIT 1
), held (type) AS (
    SELECT type FROM plain
    UNION
    SELECT inner_type.oid FROM held h JOIN pg_type t ON t.oid = h.type CROSS JOIN LATERAL (
        SELECT t.typelem WHERE t.typelem <> 0
        UNION ALL SELECT t.typbasetype WHERE t.typbasetype <> 0
        UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
        UNION ALL SELECT a.atttypid FROM pg_attribute a WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0
                     AND NOT a.attisdropped
    ) inner_type (oid)
)
SELECT p.depth > 0, format_type(p.type, p.modifier), p.type::int8,
       EXISTS (SELECT FROM held h JOIN pg_type t ON t.oid = h.type WHERE t.typtype IN ('d', 'p')) FROM plain p
"""


@dataclass(frozen=True, slots=True)
class MadeColumn:
    """A column as it is made."""

    name: str
    type: str
    """As the server itself writes it."""
    not_null: bool
    of_users: bool
    """The type is not one of PostgreSQL's own, so it may take other values than it took at the point."""
    note: str = ""
    """Why the type is another than it was; empty: it is the same."""

    def as_text(self) -> MadeColumn:
        """The same values as text."""
        return MadeColumn(
            self.name, "pg_catalog.text", self.not_null, False, "as text: its type there does not take the values of the point"
        )


async def made_columns(connection: Connection, columns: list[Column]) -> list[MadeColumn]:
    """What the target makes of ``columns``. The session's path is our own, so that types are named as they were captured."""
    found = []
    known: dict[str, tuple[str, bool, str]] = {}
    for column in columns:
        if column.type not in known:
            known[column.type] = await _made(connection, column.type)
        name, of_users, note = known[column.type]
        found.append(MadeColumn(column.name, name, column.not_null, of_users, note))
    return found


async def _made(connection: Connection, captured: str) -> tuple[str, bool, str]:
    """Type, whether it is one of users, and why it is not ``captured``."""
    try:
        # The server's own parser reads the captured text: it is one name of a type, or nothing.
        cursor = await connection.execute(_TYPE.encode(), (captured,))
        row = await cursor.fetchone()
    except (psycopg.ProgrammingError, psycopg.DataError, psycopg.NotSupportedError):
        row = None
    if row is None:
        return "pg_catalog.text", False, f"as text: the target has no type {captured}"
    domain, base, oid, holds_domain = row
    if holds_domain:
        return "pg_catalog.text", False, f"as text: {captured} holds a domain, whose checks could run code"
    if domain:
        return base, oid >= _FIRST_OF_USERS, f"as {base}: the checks of domain {captured} could run code"
    return captured, oid >= _FIRST_OF_USERS, ""
