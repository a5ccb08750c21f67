"""Publications that are not the archiver's, each as the statements that make it.

pg_dump is told to leave publications out: ours name every table, and change with every table that comes.
"""

from __future__ import annotations

from archiver.capture.postgres.catalog.scope import Scope
from archiver.capture.postgres.session.access import Session
from archiver.postgres.records import UserPublication

NOT_OURS = "NOT EXISTS (SELECT FROM pg_replication_slots s WHERE {column} IN (s.slot_name || '_key', s.slot_name || '_insert'))"
"""Condition: no slot is read by it as an archiver reads."""

# Generated columns are published since 18.
_PUBLICATIONS = f"""
SELECT p.pubname::text, pg_get_userbyid(p.pubowner)::text,
       'CREATE PUBLICATION ' || quote_ident(p.pubname)
       || CASE WHEN p.puballtables THEN ' FOR ALL TABLES' ELSE coalesce(' FOR ' || m.members, '') END
       || ' WITH (publish = ' || quote_literal(concat_ws(', ',
              CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END,
              CASE WHEN p.pubdelete THEN 'delete' END, CASE WHEN p.pubtruncate THEN 'truncate' END))
       || CASE WHEN p.pubviaroot THEN ', publish_via_partition_root = true' ELSE '' END
       || CASE WHEN to_jsonb(p)->>'pubgencols' = 's' THEN ', publish_generated_columns = stored' ELSE '' END || ')'
       || coalesce(E';\\nCOMMENT ON PUBLICATION ' || quote_ident(p.pubname) || ' IS '
              || quote_literal(obj_description(p.oid, 'pg_publication')), ''),
       CASE WHEN p.puballtables THEN ARRAY['', 'all'] ELSE m.schemas END
  FROM pg_publication p
  CROSS JOIN LATERAL (
      SELECT string_agg(one.text, ', ' ORDER BY one.text), array_agg(DISTINCT one.schema) FROM (
          SELECT 'TABLE ONLY ' || quote_ident(n.nspname) || '.' || quote_ident(c.relname)
                 || coalesce((SELECT ' (' || string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) || ')' FROM pg_attribute a
                               WHERE a.attrelid = c.oid AND a.attnum = ANY (r.prattrs::int2[])), '')
                 || coalesce(' WHERE (' || pg_get_expr(r.prqual, r.prrelid) || ')', ''), n.nspname::text
            FROM pg_publication_rel r JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE r.prpubid = p.oid
          UNION ALL
          SELECT 'TABLES IN SCHEMA ' || quote_ident(n.nspname), n.nspname::text
            FROM pg_publication_namespace s JOIN pg_namespace n ON n.oid = s.pnnspid WHERE s.pnpubid = p.oid
      ) one (text, schema)
  ) m (members, schemas)
 WHERE {NOT_OURS.format(column="p.pubname")}
 ORDER BY p.pubname
"""


async def read_user_publications(session: Session, scope: Scope) -> list[UserPublication]:
    """Those that have nothing but what is captured. Raises what ``psycopg`` raises."""
    cursor = await session.execute(_PUBLICATIONS.encode())
    return [
        UserPublication(name, owner, statement)
        for name, owner, statement, schemas in await cursor.fetchall()
        if not scope.schemas or all(scope.covers_schema(schema) for schema in schemas or [])
    ]
