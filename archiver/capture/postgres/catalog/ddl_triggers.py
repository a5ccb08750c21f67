"""Event triggers that announce schema changes in the stream, in the transaction that made them.

The message is transactional: it arrives with its transaction, or never when that rolls back. Only a superuser may create event
triggers; without them the catalog poll finds the same changes, later. The function must never fail a statement of the user's: it catches
everything and warns. It needs no rights of whoever fires it: it is called by oid, so not even USAGE on its schema.
"""

from __future__ import annotations

import hashlib

import psycopg
import structlog

from archiver.capture.postgres.catalog.own_objects import COMMENT, FUNCTION, Trigger, candidates, choose_schema, own_triggers
from archiver.capture.postgres.session.access import Session, translated
from archiver.postgres.announcements import PREFIX, TRIGGERS

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
            'tag', TG_TAG, 'event', TG_EVENT, 'objects', objects)::text);
    END IF;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'archiver: a schema change was not announced: %', SQLERRM;
END
"""
_PATH = "pg_catalog, pg_temp"
"""Where names in the body are looked up, whoever fires it: without ``pg_temp`` the server looks for tables there first."""
_VERSION = COMMENT + hashlib.sha256((_PATH + _BODY).encode()).hexdigest()[:16]


def _installing(schema: str, *, make_schema: bool) -> list[str]:
    function = f"{schema}.{FUNCTION}"
    return [
        *([f"CREATE SCHEMA {schema}"] if make_schema else []),
        f"COMMENT ON SCHEMA {schema} IS 'made by the archiver; holds the function of its event triggers and nothing else'",
        # Not CREATE OR REPLACE, which keeps an owner.
        f"""
        CREATE FUNCTION {function}() RETURNS event_trigger
        LANGUAGE plpgsql SET search_path = {_PATH} AS $body${_BODY}$body$
        """,
        *(f"CREATE EVENT TRIGGER {trigger} ON {event} EXECUTE FUNCTION {function}()" for trigger, event in TRIGGERS.items()),
        # The comment comes last: with it, everything above is there.
        f"COMMENT ON FUNCTION {function}() IS '{_VERSION}'",
    ]


async def installed(session: Session) -> bool:
    """Whether function and triggers of this very version are there, enabled, and out of everybody's reach but a superuser's."""
    try:
        found = await own_triggers(session, _VERSION)
    except psycopg.Error as error:
        raise translated(error, "looking for event triggers") from error
    return len(found) == len(TRIGGERS) and all(trigger.current for trigger in found)


async def install(session: Session) -> bool:
    """Install or upgrade function and triggers, in one transaction; True when they are there afterwards.

    False, and a warning in the log, when the role's rights do not suffice, or every name of ours is somebody else's. Several archivers on
    one database share them.
    """
    if await installed(session):
        return True
    try:
        async with session.transaction():
            await session.execute("SET LOCAL lock_timeout = '5s'")
            reason = await _install(session)
    except psycopg.errors.InsufficientPrivilege:
        reason = "event triggers need a superuser"
    except psycopg.Error as error:
        raise translated(error, "installing event triggers") from error
    if reason:
        _log.warning("ddl_trigger_not_installed", reason=reason, effect="schema changes are noticed by polling the catalog")
    return not reason


async def _install(session: Session) -> str:
    """Do it, within the caller's transaction; or say why not, having changed nothing."""
    triggers = await own_triggers(session, _VERSION)
    if strange := [trigger.name for trigger in triggers if not trigger.ours]:
        return f"event trigger {', '.join(strange)} runs a function that is not the archiver's"
    found = await candidates(session)
    if not (schema := choose_schema(found)):
        return f"schemas {', '.join(found)} are not the archiver's (owners: {', '.join(each.owner for each in found.values())})"
    await _remove(session, triggers)
    if schema in found:
        await session.execute(f"DROP FUNCTION IF EXISTS {schema}.{FUNCTION}()".encode())
    for statement in _installing(schema, make_schema=schema not in found):
        await session.execute(statement.encode())
    return ""


async def _remove(session: Session, triggers: list[Trigger]) -> None:
    """Drop ``triggers`` and the functions that they run."""
    for trigger in triggers:
        await session.execute(f"DROP EVENT TRIGGER {trigger.name}".encode())
    for function in {trigger.function for trigger in triggers}:
        await session.execute(f"DROP FUNCTION {function}".encode())
