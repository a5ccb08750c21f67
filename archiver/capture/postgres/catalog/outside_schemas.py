"""Where only some schemas are captured: what they need of others, by the server's own record of dependencies."""

from __future__ import annotations

from archiver.capture.postgres.session.access import Session
from archiver.postgres.records import Outside

_IN_SCHEMAS = {
    "pg_class": "relnamespace",
    "pg_type": "typnamespace",
    "pg_proc": "pronamespace",
    "pg_constraint": "connamespace",
    "pg_operator": "oprnamespace",
    "pg_opclass": "opcnamespace",
    "pg_opfamily": "opfnamespace",
    "pg_collation": "collnamespace",
    "pg_statistic_ext": "stxnamespace",
    "pg_ts_config": "cfgnamespace",
    "pg_ts_dict": "dictnamespace",
}
_OF_RELATIONS = {"pg_attrdef": "adrelid", "pg_policy": "polrelid", "pg_rewrite": "ev_class", "pg_trigger": "tgrelid"}

_CAPTURED = " UNION ALL ".join(
    [
        *(f"SELECT '{name}'::regclass, o.oid FROM {name} o JOIN wanted w ON w.oid = o.{column}" for name, column in _IN_SCHEMAS.items()),
        *(
            f"SELECT '{name}'::regclass, o.oid FROM {name} o JOIN pg_class c ON c.oid = o.{column} JOIN wanted w ON w.oid = c.relnamespace"
            for name, column in _OF_RELATIONS.items()
        ),
    ]
)
# The server's own objects have no such record, or lie below 16384; what an extension brings comes with the extension.
_OUTSIDE = f"""
WITH wanted (oid) AS (SELECT oid FROM pg_namespace WHERE nspname = ANY(%s)),
captured (class, object) AS ({_CAPTURED})
SELECT DISTINCT i.schema, i.type || ' ' || i.identity
  FROM captured JOIN pg_depend d ON d.classid = captured.class AND d.objid = captured.object
  CROSS JOIN LATERAL pg_identify_object(d.refclassid, d.refobjid, 0) i
 WHERE d.refobjid >= 16384 AND i.schema <> ALL (%s) AND i.schema !~ '^pg_' AND i.schema <> 'information_schema' AND i.type <> 'index'
   AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = d.refclassid AND e.objid = d.refobjid AND e.deptype = 'e')
 ORDER BY 1, 2
"""


async def read_outside(session: Session, schemas: list[str]) -> list[Outside]:
    """Objects that those of ``schemas`` need and that are in none of them. Raises what ``psycopg`` raises."""
    cursor = await session.execute(_OUTSIDE.encode(), (schemas, schemas))
    return [Outside(schema, name) for schema, name in await cursor.fetchall()]
