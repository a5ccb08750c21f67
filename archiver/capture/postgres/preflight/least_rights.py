"""The least rights that capture needs, as SQL that an administrator applies as it is. Pure.

The publications are made by the administrator, so that the role owns nothing and may write nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator

from archiver.capture.postgres.catalog.own_objects import KEY, choose_schema
from archiver.capture.postgres.catalog.publication import plan_members
from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.preflight.facts import Facts
from archiver.postgres.pasteable import identifier, statement

_TOGETHER = 20
"""Names in one statement."""
NEW_ROLE = "archiver_capture"
"""The role that is proposed where capture connects as a superuser."""


def least_rights(facts: Facts, config: PostgresConfig) -> list[str]:
    """Statements, each on a line of its own; again is harmless. Comments say what they are for."""
    role = identifier(NEW_ROLE if facts.superuser else facts.role)
    relations = [table for table in facts.observed.catalog.tables if facts.observed.causes.get(table.oid) != "out_of_scope"]
    captured = [table for table in relations if table.mode != "excluded"]
    lines = [f"-- The least rights that capture of this database needs: run in {identifier(facts.database)} as a superuser."]
    if facts.superuser:
        lines.append("-- Capture connects as a superuser. This role is enough; give it a password, and put it into the connection string.")
        lines.append(f"CREATE ROLE {role} LOGIN REPLICATION;")
    elif not facts.replication:
        lines.append(f"ALTER ROLE {role} REPLICATION;")
    if any(table.oid in facts.row_security for table in captured):
        lines.append("-- Tables have row-level security: a copy would lack rows.")
        lines.append(f"ALTER ROLE {role} BYPASSRLS;")
    lines.append(f"GRANT CONNECT ON DATABASE {identifier(facts.database)} TO {role};")
    schemas = sorted({*(table.schema for table in relations), *(schema for schema, _ in facts.sequences)})
    lines += _granted("USAGE ON SCHEMA", [identifier(schema) for schema in schemas], role)
    lines += _granted("SELECT ON TABLE", sorted(identifier(table.schema, table.name) for table in relations), role)
    lines += _granted("SELECT ON SEQUENCE", sorted(identifier(*names) for names in facts.sequences), role)
    if change := plan_members(config.publications, facts.publications, facts.observed.catalog).statements:
        lines.append("-- What is published. Nobody else adds a table that is made later: it is a gap until this is run again.")
        lines += [f"{statement(each.as_string(None))};" for each in change]
    if config.ddl != "poll":
        lines += _announcing(facts, role)
    return lines


def _announcing(facts: Facts, role: str) -> Iterator[str]:
    """The event triggers, as they are in this version, and the right to tell their announcements from anybody's."""
    schema = choose_schema(facts.candidates)
    if facts.installation.reason or not schema:
        return
    if facts.installation.statements:
        yield "-- Event triggers, which announce schema changes."
        yield "BEGIN;"
        yield from (f"{each};" for each in facts.installation.statements)
        yield "COMMIT;"
    yield "-- Tells what they announce from what anybody sends; nobody else needs it."
    yield f"GRANT USAGE ON SCHEMA {identifier(schema)} TO {role};"
    yield f"GRANT SELECT ON {identifier(schema, KEY)} TO {role};"


def _granted(what: str, names: list[str], role: str) -> Iterator[str]:
    for at in range(0, len(names), _TOGETHER):
        yield f"GRANT {what} {', '.join(names[at : at + _TOGETHER])} TO {role};"
