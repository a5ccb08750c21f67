"""Event triggers that announce schema changes in the stream, in the transaction that made them.

The message is transactional: it arrives with its transaction, or never when that rolls back. Only a superuser may create event
triggers; without them the catalog poll finds the same changes, later. The function must never fail a statement of the user's: it catches
everything and warns. It needs no rights of whoever fires it: it is called by oid, so not even USAGE on its schema.
"""

from __future__ import annotations

import hashlib

import psycopg
import structlog

from archiver.capture.postgres.session.access import Session, translated
from archiver.postgres.announcements import OWN_SCHEMA, PREFIX, TRIGGERS

QUERY_CHARACTERS = 10_000
"""``query`` is cut here."""
_log = structlog.get_logger()

# One function for three events. Temporary objects are of no concern, and neither is what an extension's script does inside.
_BODY = f"""
DECLARE
    objects jsonb;
BEGIN
    IF TG_EVENT = 'ddl_command_end' THEN
        SELECT jsonb_agg(jsonb_build_object('type', c.object_type, 'identity', c.object_identity, 'oid', c.objid::int8))
          INTO objects FROM pg_event_trigger_ddl_commands() c WHERE c.schema_name IS DISTINCT FROM 'pg_temp';
    ELSIF TG_EVENT = 'sql_drop' THEN
        SELECT jsonb_agg(jsonb_build_object('type', d.object_type, 'identity', d.object_identity, 'oid', d.objid::int8))
          INTO objects FROM pg_event_trigger_dropped_objects() d WHERE d.original AND NOT d.is_temporary;
    ELSE
        SELECT jsonb_build_array(jsonb_build_object('type', 'table', 'identity', c.oid::regclass::text, 'oid', c.oid::int8))
          INTO objects FROM pg_class c WHERE c.oid = pg_event_trigger_table_rewrite_oid() AND c.relpersistence <> 't';
    END IF;
    IF objects IS NOT NULL THEN
        PERFORM pg_logical_emit_message(true, '{PREFIX}', jsonb_build_object(
            'tag', TG_TAG, 'event', TG_EVENT, 'objects', objects, 'query', left(current_query(), {QUERY_CHARACTERS}))::text);
    END IF;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'archiver: a schema change was not announced: %', SQLERRM;
END
"""
_VERSION = "archiver event trigger " + hashlib.sha256(_BODY.encode()).hexdigest()[:16]

_FUNCTION = f"{OWN_SCHEMA}.announce_ddl"

_INSTALL = [
    f"CREATE SCHEMA IF NOT EXISTS {OWN_SCHEMA}",
    f"""
    CREATE OR REPLACE FUNCTION {_FUNCTION}() RETURNS event_trigger
    LANGUAGE plpgsql SET search_path = pg_catalog AS $body${_BODY}$body$
    """,
    *(
        statement
        for trigger, event in TRIGGERS.items()
        for statement in (
            f"DROP EVENT TRIGGER IF EXISTS {trigger}",
            f"CREATE EVENT TRIGGER {trigger} ON {event} EXECUTE FUNCTION {_FUNCTION}()",
        )
    ),
    # The comment comes last: with it, everything above is there.
    f"COMMENT ON FUNCTION {_FUNCTION}() IS '{_VERSION}'",
]


async def installed(session: Session) -> bool:
    """Whether function and triggers of this very version are there and enabled."""
    try:
        cursor = await session.execute(
            "SELECT count(*) = %s FROM pg_event_trigger t JOIN pg_proc p ON p.oid = t.evtfoid JOIN pg_namespace n ON n.oid = p.pronamespace"
            " WHERE n.nspname = 'archiver' AND p.proname = 'announce_ddl' AND t.evtenabled IN ('O', 'A') AND t.evtname = ANY(%s)"
            " AND obj_description(p.oid, 'pg_proc') = %s",
            [len(TRIGGERS), list(TRIGGERS), _VERSION],
        )
        row = await cursor.fetchone()
    except psycopg.Error as error:
        raise translated(error, "looking for event triggers") from error
    return row == (True,)


async def install(session: Session) -> bool:
    """Install or upgrade function and triggers, in one transaction; True when they are there afterwards.

    False, and a warning in the log, when the role's rights do not suffice. Several archivers on one database share them.
    """
    if await installed(session):
        return True
    try:
        async with session.transaction():
            await session.execute("SET LOCAL lock_timeout = '5s'")
            for statement in _INSTALL:
                await session.execute(statement.encode())
    except psycopg.errors.InsufficientPrivilege:
        _log.warning(
            "ddl_trigger_not_installed",
            reason="event triggers need a superuser",
            effect="schema changes are noticed by polling the catalog",
        )
        return False
    except psycopg.Error as error:
        raise translated(error, "installing event triggers") from error
    return True


async def uninstall(session: Session) -> None:
    """Remove triggers, function and schema, in one transaction; nothing when they are not there. ``Refused`` without the rights."""
    try:
        async with session.transaction():
            await session.execute("SET LOCAL lock_timeout = '5s'")
            for trigger in TRIGGERS:
                await session.execute(f"DROP EVENT TRIGGER IF EXISTS {trigger}".encode())
            await session.execute(f"DROP FUNCTION IF EXISTS {_FUNCTION}()".encode())
            # Without CASCADE: whatever else somebody put there stays, and so does the schema then.
            cursor = await session.execute(
                "SELECT EXISTS (SELECT FROM pg_namespace n WHERE nspname = 'archiver')"
                " AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_namespace n ON n.oid = d.refobjid"
                " WHERE d.refclassid = 'pg_namespace'::regclass AND n.nspname = 'archiver')"
            )
            if await cursor.fetchone() == (True,):
                await session.execute(f"DROP SCHEMA {OWN_SCHEMA}".encode())
    except psycopg.Error as error:
        raise translated(error, "removing event triggers") from error
