"""Code of users that waits for COMMIT, where the server would run it with the rights of whoever commits.

A function that is called with its owner's rights can open a cursor WITH HOLD, whose query COMMIT carries out, or fire a trigger that is
deferred until then. SECURITY DEFINER keeps it from neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from archiver.errors import Refused

if TYPE_CHECKING:
    from archiver.replay.postgres.write.target_database import Connection

FORGET_CURSORS = b"CLOSE ALL;\n"

# Foreign keys, and keys without expressions, are checked by the server's own code. It drops no trigger that something waits for.
_DEFERRABLE = """
SELECT DISTINCT t.tgrelid::regclass::text FROM pg_trigger t LEFT JOIN pg_constraint k ON k.oid = t.tgconstraint
 WHERE t.tgdeferrable AND (NOT t.tgisinternal OR k.contype = 'x')
"""


async def queued_triggers(connection: Connection) -> psycopg.Error | None:
    """Forget cursors; and what the server says where a trigger waits for COMMIT. Raises ``psycopg.Error``."""
    await connection.execute(FORGET_CURSORS)
    cursor = await connection.execute(_DEFERRABLE.encode())
    for (table,) in await cursor.fetchall():
        await connection.execute(b"SAVEPOINT queued")
        try:
            # It is refused where something waits, and taken back where nothing does.
            await connection.execute(f"ALTER TABLE ONLY {table} DISABLE TRIGGER USER".encode())
        except psycopg.Error as error:
            return error
        finally:
            await connection.execute(b"ROLLBACK TO queued; RELEASE queued")
    return None


async def refuse_queued(connection: Connection) -> None:
    """Raise ``Refused`` where a trigger waits for COMMIT, which would run it with the rights of whoever restores."""
    error = await queued_triggers(connection)
    if error is not None:
        said = error.diag.message_primary or type(error).__name__
        raise Refused(
            f"functions of the database that the restore called fired a trigger that waits for COMMIT: {said}",
            hint="nothing was changed; COMMIT would run it with your rights: look into the functions of generated columns, keys and checks",
        )
