"""Event triggers that announce schema changes in the stream, in the transaction that made them.

The message is transactional: it arrives with its transaction, or never when that rolls back. Only a superuser may create event
triggers; without them the catalog poll finds the same changes, later. The function must never fail a statement of the user's: it catches
everything and warns. It needs no rights of whoever fires it: it is called by oid, so not even USAGE on its schema. It runs with its owner's
rights, because it seals what it says by keys that nobody else may read; without keys it says it unsealed.
"""

from __future__ import annotations

import hashlib
from typing import Literal, NamedTuple

import psycopg
import structlog

from archiver.capture.postgres.catalog.own_objects import (
    COMMENT,
    FUNCTION,
    KEY,
    Candidate,
    Trigger,
    candidates,
    choose_schema,
    own_triggers,
)
from archiver.capture.postgres.session.access import Session, translated
from archiver.postgres.announcements import PREFIX, TRIGGERS

_log = structlog.get_logger()

# One function for three events. Temporary objects, with their triggers, rules and casts, and large objects are of no concern: anybody may
# make them. Neither is what an extension's script does inside.
# The keys are read and used in one expression: nothing that logs values of variables sees them.
_BODY = f"""
DECLARE
    objects jsonb;
    said text;
    seal text;
BEGIN
    IF TG_EVENT = 'ddl_command_end' THEN
        SELECT jsonb_agg(jsonb_build_object('type', c.object_type, 'identity', c.object_identity, 'oid', c.objid::int8))
          INTO objects FROM pg_event_trigger_ddl_commands() c
         WHERE c.schema_name IS DISTINCT FROM 'pg_temp' AND c.object_type IS DISTINCT FROM 'large object' AND NOT EXISTS (
            SELECT FROM pg_depend d JOIN pg_class r ON r.oid = d.refobjid
             WHERE d.classid = c.classid AND d.objid = c.objid AND d.refclassid = 'pg_class'::regclass
               AND d.deptype IN ('a', 'i') AND r.relpersistence = 't')
           AND NOT EXISTS (
            SELECT FROM pg_depend d JOIN pg_type y ON y.oid = d.refobjid JOIN pg_namespace s ON s.oid = y.typnamespace
             WHERE c.classid IN ('pg_cast'::regclass, 'pg_transform'::regclass) AND d.classid = c.classid AND d.objid = c.objid
               AND d.refclassid = 'pg_type'::regclass AND starts_with(s.nspname, 'pg_temp_'));
    ELSIF TG_EVENT = 'sql_drop' THEN
        SELECT jsonb_agg(jsonb_build_object('type', d.object_type, 'identity', d.object_identity, 'oid', d.objid::int8))
          INTO objects FROM pg_event_trigger_dropped_objects() d
         WHERE d.original AND NOT d.is_temporary AND d.address_names[1] IS DISTINCT FROM 'pg_temp'
           AND d.object_type IS DISTINCT FROM 'large object'
           AND NOT (d.object_type IN ('cast', 'transform') AND EXISTS (
            SELECT FROM unnest(d.address_names || d.address_args) a (name) WHERE starts_with(a.name, 'pg_temp.')));
    ELSE
        SELECT jsonb_build_array(jsonb_build_object('type', 'table', 'identity', c.oid::regclass::text, 'oid', c.oid::int8))
          INTO objects FROM pg_class c WHERE c.oid = pg_event_trigger_table_rewrite_oid() AND c.relpersistence <> 't';
    END IF;
    IF objects IS NOT NULL THEN
        said := jsonb_build_object('tag', TG_TAG, 'event', TG_EVENT, 'objects', objects,
            'xid', pg_current_xact_id()::text, 'lsn', pg_current_wal_insert_lsn()::text)::text;
        BEGIN
            SELECT encode(sha256(k.outer_key || sha256(k.inner_key || convert_to(said, getdatabaseencoding()))), 'hex')
              INTO seal FROM {{schema}}.{KEY} k;
        EXCEPTION WHEN OTHERS THEN
            seal := NULL;
        END;
        IF seal IS NOT NULL THEN
            said := left(said, -1) || ', "seal": "' || seal || '"}}';
        END IF;
        PERFORM pg_logical_emit_message(true, '{PREFIX}', said);
    END IF;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'archiver: a schema change was not announced: %', SQLERRM;
END
"""
_PATH = "pg_catalog, pg_temp"
"""Where names in the body are looked up, whoever fires it: without ``pg_temp`` the server looks for tables there first."""
_RUNS = f"LANGUAGE plpgsql SECURITY DEFINER SET search_path = {_PATH}"
_VERSION = COMMENT + hashlib.sha256((_RUNS + _BODY).encode()).hexdigest()[:16]
_HALF = "pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.gen_random_uuid()::text || pg_catalog.gen_random_uuid()::text, 'UTF8'))"

Announcing = Literal["none", "older", "current"]
"""Whether changes are announced: by triggers of ours of whatever version, or of this very one."""


class Installation(NamedTuple):
    """What there is to do for our event triggers to be there, of this version, and for keys to be there with values."""

    statements: list[str]
    """Each on a line of its own, in order; empty when they are, or cannot be."""
    reason: str = ""
    """Why they cannot be."""


def _making_keys(schema: str) -> list[str]:
    key = f"{schema}.{KEY}"
    return [
        # Not the rows but the query goes into a dump: what is restored from one has other keys. Filled anew it has new ones as well.
        # Filled by a refresh: no slot decodes its rows then, whatever plugin it has.
        f"CREATE MATERIALIZED VIEW {key} AS SELECT {_HALF} || {_HALF} AS inner_key, {_HALF} || {_HALF} AS outer_key WITH NO DATA",
        _revoking(key),
        f"REFRESH MATERIALIZED VIEW {key}",
        f"COMMENT ON MATERIALIZED VIEW {key} IS 'keys of the archiver''s announcements; REFRESH makes new ones'",
    ]


def _revoking(key: str) -> str:
    """Takes from everybody but the owner what default privileges gave."""
    given = f"SELECT DISTINCT grantee FROM pg_class, aclexplode(relacl) WHERE oid = '{key}'::regclass AND grantee <> relowner"
    revoke = f"REVOKE ALL ON {key} FROM %s CASCADE"
    whom = "CASE each.grantee WHEN 0 THEN 'PUBLIC' ELSE each.grantee::regrole::text END"
    return f"DO $do$ DECLARE each record; BEGIN FOR each IN {given} LOOP EXECUTE format('{revoke}', {whom}); END LOOP; END $do$"


def _installing(schema: str, *, make_schema: bool, make_keys: bool) -> list[str]:
    function = f"{schema}.{FUNCTION}"
    body = " ".join(_BODY.replace("{schema}", schema).split())
    return [
        *([f"CREATE SCHEMA {schema}"] if make_schema else []),
        f"COMMENT ON SCHEMA {schema} IS 'made by the archiver; holds the function of its event triggers and nothing else'",
        *(_making_keys(schema) if make_keys else []),
        # Not CREATE OR REPLACE, which keeps an owner.
        f"CREATE FUNCTION {function}() RETURNS event_trigger {_RUNS} AS $body$ {body} $body$",
        *(f"CREATE EVENT TRIGGER {trigger} ON {event} EXECUTE FUNCTION {function}()" for trigger, event in TRIGGERS.items()),
        # The comment comes last: with it, everything above is there.
        f"COMMENT ON FUNCTION {function}() IS '{_VERSION}'",
    ]


async def announcing(session: Session) -> Announcing:
    """Whether function and triggers are there, enabled, and out of everybody's reach but a superuser's."""
    try:
        found = await own_triggers(session, _VERSION)
    except psycopg.Error as error:
        raise translated(error, "looking for event triggers") from error
    if len(found) != len(TRIGGERS) or not all(trigger.any_version for trigger in found):
        return "none"
    return "current" if all(trigger.current for trigger in found) else "older"


async def installed(session: Session) -> bool:
    """Whether function and triggers of this very version are there, enabled, and out of everybody's reach but a superuser's."""
    return await announcing(session) == "current"


async def install(session: Session) -> bool:
    """Install or upgrade function and triggers, in one transaction; whether they are there afterwards, of this version, with keys.

    If not there is a warning in the log: the role's rights do not suffice, or every name of ours is somebody else's. Several archivers on
    one database share them.
    """
    found = await announcing(session)
    try:
        async with session.transaction():
            await session.execute("SET LOCAL lock_timeout = '5s'")
            statements, reason = await plan_installation(session)
            for statement in statements:
                await session.execute(statement.encode())
    except psycopg.errors.InsufficientPrivilege:
        reason = "the keys of announcements need a superuser" if found == "current" else "event triggers need a superuser"
    except psycopg.Error as error:
        raise translated(error, "installing event triggers") from error
    if reason:
        effect = "schema changes are noticed by polling the catalog" if found == "none" else "announcements count as hints"
        _log.warning("ddl_trigger_not_installed", reason=reason, effect=effect)
    return not reason


async def plan_installation(session: Session) -> Installation:
    """What there is to do, or why it cannot be done. Raises ``psycopg.Error``."""
    triggers = await own_triggers(session, _VERSION)
    if len(triggers) == len(TRIGGERS) and all(trigger.current for trigger in triggers):
        return Installation(_keying(triggers[0], await candidates(session)))
    if strange := [trigger.name for trigger in triggers if not trigger.ours]:
        return Installation([], f"event trigger {', '.join(strange)} runs a function that is not the archiver's")
    found = await candidates(session)
    if not (schema := choose_schema(found)):
        owners = ", ".join(each.owner for each in found.values())
        return Installation([], f"schemas {', '.join(found)} are not the archiver's (owners: {owners})")
    function = f"{schema}.{FUNCTION}()"
    removed = {trigger.function for trigger in triggers}
    stands = found.get(schema)
    return Installation(
        [
            *(f"DROP EVENT TRIGGER {trigger.name}" for trigger in triggers),
            *(f"DROP FUNCTION {each}" for each in sorted(removed)),
            *([f"DROP FUNCTION IF EXISTS {function}"] if stands is not None and function not in removed else []),
            # Keys that are there stay, with the rights that were given on them.
            *_installing(schema, make_schema=stands is None, make_keys=stands is None or not stands.keys),
            *([f"REFRESH MATERIALIZED VIEW {schema}.{KEY}"] if stands is not None and stands.keys and not stands.filled else []),
        ]
    )


def _keying(trigger: Trigger, found: dict[str, Candidate]) -> list[str]:
    """Makes keys beside the function of ``trigger``, which is current, or gives them values, where they have none."""
    home = next((each for each in found.values() if trigger.function == f"{each.name}.{FUNCTION}()"), None)
    if home is None or not home.usable or home.filled:
        return []
    return [f"REFRESH MATERIALIZED VIEW {home.name}.{KEY}"] if home.keys else _making_keys(home.name)
