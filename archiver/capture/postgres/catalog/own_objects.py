"""What in a database is ours: told by what it is, never by its name alone.

A user may have a schema called ``archiver``, made on purpose or by chance: it is captured like any other, and nothing of ours goes into
it. Whoever owns a schema or a function can replace what is in it, so ours counts only where a superuser owns both.
"""

from __future__ import annotations

from typing import NamedTuple

from archiver.capture.postgres.session.access import Session
from archiver.postgres.announcements import TRIGGERS

SCHEMAS = ("archiver", "archiver_ddl")
"""Names for our schema: the second where the first is a user's."""
FUNCTION = "announce_ddl"
KEY = "announcement_key"
"""The materialized view beside it, with the keys of its seals: a table's rows would be published, dumped and decoded."""
COMMENT = "archiver event trigger "
"""Begins the comment of our function; its version follows."""

_FUNCTION_IN = (
    f"SELECT p.oid FROM pg_proc p WHERE p.pronamespace = n.oid AND p.proname = '{FUNCTION}' AND p.pronargs = 0"
    f" AND p.prorettype = 'event_trigger'::regtype AND starts_with(obj_description(p.oid, 'pg_proc'), '{COMMENT}')"
)
_ALONE = (
    "NOT EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid"
    " AND NOT (d.classid = 'pg_proc'::regclass AND d.objid = o.oid)"
    " AND NOT (d.classid = 'pg_class'::regclass AND EXISTS (SELECT FROM pg_class k WHERE k.oid = d.objid"
    f" AND k.relname = '{KEY}' AND k.relkind = 'm' AND k.relowner = n.nspowner)))"
)
OWN_SCHEMAS = f"SELECT n.oid FROM pg_namespace n CROSS JOIN LATERAL ({_FUNCTION_IN}) o (oid) WHERE {_ALONE}"
"""Query: the oids of schemas that hold our function, its keys, and nothing else. They are no part of the captured database."""


class Candidate(NamedTuple):
    """A schema that has one of our names, and our function in it, if it has one."""

    name: str
    owner: str
    trusted: bool
    """A superuser, or the session's own role, owns the schema and the function."""
    function: bool
    alone: bool
    """Nothing but our function and its keys is in it."""
    keys: bool = False
    """The keys are there, in a form that is ours, and whoever owns the schema owns them."""
    filled: bool = False
    """They have values: those of a database that was made from a dump of the schema alone have none."""

    @property
    def usable(self) -> bool:
        """Whether our function may be (or be put) there."""
        return self.trusted and self.function and self.alone


_CANDIDATES = f"""
SELECT n.nspname, pg_get_userbyid(n.nspowner)::text,
       NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid IN (n.nspowner, (SELECT p.proowner FROM pg_proc p WHERE p.oid = o.oid))
                    AND NOT r.rolsuper AND r.rolname <> current_user),
       o.oid IS NOT NULL, {_ALONE.replace("d.objid = o.oid", "d.objid IS NOT DISTINCT FROM o.oid")},
       k.oid IS NOT NULL, coalesce(k.relispopulated, false)
  FROM pg_namespace n LEFT JOIN LATERAL ({_FUNCTION_IN}) o (oid) ON true
  LEFT JOIN pg_class k ON k.relnamespace = n.oid AND k.relname = '{KEY}' AND k.relkind = 'm' AND k.relowner = n.nspowner
 WHERE n.nspname = ANY(%s)
"""


_TRIGGERS = f"""
SELECT t.evtname, p.oid::regprocedure::text,
       p.proname = '{FUNCTION}',
       t.evtenabled IN ('O', 'A') AND obj_description(p.oid, 'pg_proc') IS NOT DISTINCT FROM %s
         AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid IN (n.nspowner, p.proowner) AND NOT r.rolsuper AND r.oid <> t.evtowner),
       t.evtenabled IN ('O', 'A') AND coalesce(starts_with(obj_description(p.oid, 'pg_proc'), '{COMMENT}'), false)
         AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid IN (n.nspowner, p.proowner) AND NOT r.rolsuper AND r.oid <> t.evtowner)
  FROM pg_event_trigger t JOIN pg_proc p ON p.oid = t.evtfoid JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE t.evtname = ANY(%s)
"""


class Trigger(NamedTuple):
    """An event trigger that has one of our names."""

    name: str
    function: str
    """Quoted, with its arguments."""
    ours: bool
    """It runs our function; no one but a superuser can have made it."""
    current: bool
    """It is enabled, and runs the version asked for, which nobody but a superuser can replace."""
    any_version: bool = False
    """Likewise, whatever the version."""


async def own_triggers(session: Session, version: str) -> list[Trigger]:
    """The event triggers that have one of our names. ``version``: the comment of the function. Raises ``psycopg.Error``."""
    rows = await (await session.execute(_TRIGGERS.encode(), [version, list(TRIGGERS)])).fetchall()
    return [Trigger(*row) for row in rows]


async def candidates(session: Session) -> dict[str, Candidate]:
    """The schemas that have one of our names. Raises ``psycopg.Error``."""
    rows = await (await session.execute(_CANDIDATES.encode(), [list(SCHEMAS)])).fetchall()
    return {found.name: found for found in (Candidate(*row) for row in rows)}


def choose_schema(found: dict[str, Candidate]) -> str:
    """Where our function belongs; empty when every name of ours is taken."""
    return next((name for name in SCHEMAS if name not in found or found[name].usable), "")
