"""Reading the keys by which our event trigger seals what it announces, over a session of capture's role."""

from __future__ import annotations

import psycopg

from archiver.capture.postgres.catalog.own_objects import FUNCTION, KEY, SCHEMAS
from archiver.capture.postgres.session.access import Session, translated
from archiver.postgres.announcement_seal import KEY_BYTES, SealKeys
from archiver.postgres.announcements import END_TRIGGER

_OTHERS = """
SELECT coalesce(r.rolname::text, 'PUBLIC')
  FROM (SELECT k.relacl UNION ALL SELECT c.attacl FROM pg_attribute c WHERE c.attrelid = k.oid) given (acl)
 CROSS JOIN LATERAL aclexplode(given.acl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
 WHERE a.privilege_type = 'SELECT' AND a.grantee <> k.relowner
   AND (r.oid IS NULL OR NOT (r.rolsuper OR r.rolreplication OR r.rolname = current_user))
"""
"""To whom the keys were given that is neither their owner, nor this role, nor one of another archiver."""
_PLACE = f"""
SELECT n.nspname::text FROM pg_event_trigger t JOIN pg_proc p ON p.oid = t.evtfoid JOIN pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_class k ON k.relnamespace = n.oid
 WHERE t.evtname = '{END_TRIGGER}' AND p.proname = '{FUNCTION}' AND p.prosecdef AND n.nspname = ANY(%s)
   AND k.relname = '{KEY}' AND k.relkind = 'm' AND k.relispopulated
   AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid IN (n.nspowner, p.proowner, k.relowner) AND NOT r.rolsuper AND r.oid <> t.evtowner)
   AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(k.oid, 'SELECT') AND NOT EXISTS ({_OTHERS})
"""
"""Where the keys are that a superuser made, that nobody reads who likes, and that this role may read."""
_READERS = f"""
SELECT DISTINCT o.name FROM pg_namespace n JOIN pg_class k ON k.relnamespace = n.oid CROSS JOIN LATERAL ({_OTHERS}) o (name)
 WHERE n.nspname = ANY(%s) AND k.relname = '{KEY}' AND k.relkind = 'm' ORDER BY 1
"""


async def others_with_keys(session: Session) -> list[str]:
    """Roles that may read the keys and have no business to: with them announcements are anybody's. Raises ``psycopg.Error``."""
    rows = await (await session.execute(_READERS.encode(), [list(SCHEMAS)])).fetchall()
    return [name for (name,) in rows]


async def read_seal_keys(session: Session) -> SealKeys | None:
    """The keys in force. ``None``: there are none, they are anybody's, or this role may not read them, or not now.

    Raises ``Unavailable``.
    """
    try:
        async with session.transaction():
            await session.execute("SET LOCAL lock_timeout = '1s'")
            place = await (await session.execute(_PLACE.encode(), [list(SCHEMAS)])).fetchone()
            if place is None:
                return None
            rows = await (await session.execute(f"SELECT inner_key, outer_key FROM {place[0]}.{KEY} LIMIT 2".encode())).fetchall()
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.LockNotAvailable, psycopg.errors.UndefinedTable):
        return None
    except psycopg.Error as error:
        raise translated(error, "reading the keys of announcements") from error
    if len(rows) != 1 or not all(isinstance(key, bytes) and len(key) == KEY_BYTES for key in rows[0]):
        return None
    return SealKeys(*rows[0])
