"""The ``search_path`` that an object's maker may have had: what does not work with an empty one is tried with these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from archiver.replay.postgres.write.target_database import Connection

# A name that is found where somebody else made objects may be theirs: their code would run, or stay, in place of what was meant.
_TRUSTED = """
SELECT n.nspname FROM pg_namespace n
 WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT EXISTS (
       SELECT FROM (SELECT pronamespace, proowner FROM pg_proc
                    UNION ALL SELECT oprnamespace, oprowner FROM pg_operator
                    UNION ALL SELECT relnamespace, relowner FROM pg_class
                    UNION ALL SELECT typnamespace, typowner FROM pg_type) o (schema, owner)
         JOIN pg_roles r ON r.oid = o.owner
        WHERE o.schema = n.oid AND r.rolname <> %s AND r.rolname <> current_user AND NOT r.rolsuper)
 ORDER BY n.nspname <> %s, n.nspname <> 'public', n.nspname
"""


class SearchPaths:
    """Of one target, as its schemas are while it is filled."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def of(self, schema: str, owner: str) -> list[str]:
        """Paths for an object of ``owner`` in ``schema``, the likeliest first.

        Only schemas in which nobody else but superusers has objects.
        """
        try:
            cursor = await self._connection.execute(_TRUSTED.encode(), (owner, schema))
        except UnicodeEncodeError:
            return []
        names = [sql.Identifier(name).as_string(None) for (name,) in await cursor.fetchall()]
        near = [name for name in names if name in (sql.Identifier(schema).as_string(None), '"public"')]
        return list(dict.fromkeys(", ".join(path) for path in (near, names) if path))
