"""What a trial leaves at the database that it captured: the archiver's own is taken away, roles of the SQL are named."""

from __future__ import annotations

from typing import Self

import psycopg
from psycopg import sql

_TRIGGERS = (
    "SELECT evtname, evtfoid::regprocedure::text, pronamespace::regnamespace::text FROM pg_event_trigger JOIN pg_proc p ON p.oid = evtfoid"
)


class Traces:
    """Around one trial: a slot that nobody reads would keep the server's log for ever."""

    def __init__(self, dsn: str, slot: str) -> None:
        self._dsn, self._slot = dsn, slot
        self.new_roles: list[str] = []
        """Roles that came during the trial and are still there: they may own what the SQL made, so they stay."""

    def __enter__(self) -> Self:
        with psycopg.connect(self._dsn, autocommit=True) as session:
            self._take_away(session, keep_triggers=True)
            self._triggers, self._roles = _triggers(session), _roles(session)
        return self

    def __exit__(self, *_: object) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as session:
            self.new_roles = sorted(_roles(session) - self._roles)
            self._take_away(session, keep_triggers=bool(self._triggers))

    def _take_away(self, session: psycopg.Connection, *, keep_triggers: bool) -> None:
        """``keep_triggers``: they were there before, so another archiver may need them."""
        session.execute("SET search_path = pg_catalog")
        session.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s AND NOT active", [self._slot]
        )
        for suffix in ("key", "insert"):
            session.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(f"{self._slot}_{suffix}")))
        made = set() if keep_triggers else _triggers(session)
        for name, _, _ in made:
            session.execute(sql.SQL("DROP EVENT TRIGGER {}").format(sql.Identifier(name)))
        for function, schema in {(function, schema) for _, function, schema in made}:
            session.execute(f"DROP FUNCTION {function}".encode())
            session.execute(f"DROP MATERIALIZED VIEW IF EXISTS {schema}.announcement_key".encode())
            session.execute(f"DO $$ BEGIN DROP SCHEMA {schema}; EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END $$".encode())


def _triggers(session: psycopg.Connection) -> set[tuple[str, str, str]]:
    """Name, function and its schema of the event triggers by which the archiver hears of DDL."""
    where = " WHERE evtname LIKE 'archiver\\_ddl\\_%' AND proname = 'announce_ddl'"
    return {(str(row[0]), str(row[1]), str(row[2])) for row in session.execute((_TRIGGERS + where).encode()).fetchall()}


def _roles(session: psycopg.Connection) -> set[str]:
    return {str(row[0]) for row in session.execute("SELECT rolname FROM pg_roles").fetchall()}
