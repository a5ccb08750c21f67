"""Constraints that rows break, or whose functions cannot run: taken away while rows are written, then put back NOT VALID."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from archiver.replay.postgres.plan.plan import LeftOutItem

if TYPE_CHECKING:
    from archiver.replay.postgres.write.target_database import Connection

# A check that came from a parent is that of the parent. Up to 15 to_regtype and to_regclass raise for an empty name.
_CHECKS = """
WITH RECURSIVE held (oid, relation) AS (
    SELECT k.oid, k.conrelid FROM pg_constraint k WHERE k.contype = 'c' AND k.conrelid = to_regclass(nullif(%(table)s, ''))
       AND CASE WHEN %(name)s <> '' THEN k.conname = %(name)s
                ELSE EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_constraint'::regclass AND d.objid = k.oid
                                AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass) AND d.refobjid >= 16384) END
    UNION
    SELECT above.oid, above.conrelid FROM held JOIN pg_constraint k ON k.oid = held.oid JOIN pg_inherits i ON i.inhrelid = held.relation
      JOIN pg_constraint above ON above.conrelid = i.inhparent AND above.contype = 'c' AND above.conname = k.conname
)
SELECT 'TABLE ' || k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid), obj_description(k.oid, 'pg_constraint')
  FROM held JOIN pg_constraint k ON k.oid = held.oid WHERE k.coninhcount = 0 AND k.convalidated
UNION ALL
SELECT 'DOMAIN ' || k.contypid::regtype, k.conname, pg_get_constraintdef(k.oid), obj_description(k.oid, 'pg_constraint')
  FROM pg_constraint k WHERE k.contype = 'c' AND k.contypid = to_regtype(nullif(%(domain)s, '')) AND k.conname = %(name)s AND k.convalidated
"""


@dataclass(frozen=True, slots=True)
class CheckConstraint:
    """One constraint of the target, and how it is taken away and put back."""

    name: str
    away: str
    back: str
    """Empty where it cannot be put back while rows break it."""
    by_hand: str
    """Makes it what it was, once the rows are mended."""


async def broken_checks(connection: Connection, table: str, error: psycopg.Error) -> list[CheckConstraint]:
    """What ``error`` says is broken by rows of ``table`` (quoted); where it names none, every check that calls a function."""
    diag = error.diag
    held = _quoted(diag.schema_name, diag.table_name) if diag.table_name else table
    domain = _quoted(diag.schema_name, diag.datatype_name) if diag.datatype_name else ""
    if error.sqlstate == "23502":
        return [_not_null(held, domain, diag.column_name)]
    if (error.sqlstate or "").startswith("22") or (error.sqlstate == "23514" and not diag.constraint_name):
        # A value that is none, or a row that belongs into another partition.
        return []
    asked = {"table": "" if domain else held, "name": diag.constraint_name or "", "domain": domain}
    cursor = await connection.execute(_CHECKS.encode(), asked)
    found = []
    for owner, name, definition, comment in await cursor.fetchall():
        constraint = sql.Identifier(name).as_string(None)
        weak = definition if definition.endswith(" NOT VALID") else f"{definition} NOT VALID"
        back = f"ALTER {owner} ADD CONSTRAINT {constraint} {weak};\n"
        if comment is not None:
            on = owner.removeprefix("TABLE ")
            back += f"COMMENT ON CONSTRAINT {constraint} ON {on} IS {sql.Literal(comment).as_string(connection)};\n"
        validate = f"ALTER {owner} VALIDATE CONSTRAINT {constraint};\n"
        shown = f"CHECK CONSTRAINT {owner.partition(' ')[2]} {name}"
        found.append(CheckConstraint(shown, f"ALTER {owner} DROP CONSTRAINT {constraint}", back, validate))
    return found


def _not_null(table: str, domain: str, column: str | None) -> CheckConstraint:
    if domain:
        return CheckConstraint(
            f"NOT NULL of DOMAIN {domain}", f"ALTER DOMAIN {domain} DROP NOT NULL", "", f"ALTER DOMAIN {domain} SET NOT NULL;\n"
        )
    name = sql.Identifier(column or "").as_string(None)
    altered = f"ALTER TABLE {table} ALTER COLUMN {name}"
    return CheckConstraint(f"NOT NULL of COLUMN {table}.{name}", f"{altered} DROP NOT NULL", "", f"{altered} SET NOT NULL;\n")


def as_left_out(check: CheckConstraint, reason: str) -> LeftOutItem:
    """What the report says of it."""
    said = f"NOT VALID, because rows break it: {reason}" if check.back else f"left out, because rows break it: {reason}"
    return LeftOutItem(check.name, said, check.by_hand)


def _quoted(schema: str | None, name: str) -> str:
    return sql.Identifier(*(part for part in (schema, name) if part)).as_string(None)
