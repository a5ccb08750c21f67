"""Two databases compared by what SQL says of them: the judge of restores, sharing no code with the product."""

from __future__ import annotations

import psycopg
from psycopg import sql

RELATIONS = """
SELECT n.nspname, c.relname, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'archiver') AND n.nspname !~ '^pg_(toast|temp)'
  AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
"""

SHAPES = {
    "columns": """
        SELECT n.nspname || '.' || c.relname, string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated,
               a.attidentity, pg_get_expr(d.adbin, d.adrelid)), ', ' ORDER BY a.attname)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'archiver')
        GROUP BY 1 ORDER BY 1""",
    "constraints": """
        SELECT n.nspname || '.' || c.relname || ' ' || k.conname, pg_get_constraintdef(k.oid) || k.convalidated
        FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1""",
    "indexes": """
        SELECT n.nspname || '.' || c.relname, pg_get_indexdef(i.indexrelid) || i.indisvalid || i.indisready
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1""",
    "triggers": """
        SELECT t.tgrelid::regclass::text || ' ' || t.tgname, pg_get_triggerdef(t.oid) FROM pg_trigger t WHERE NOT t.tgisinternal ORDER BY 1""",
    "sequences": """
        SELECT schemaname || '.' || sequencename, concat_ws(' ', data_type, start_value, increment_by, last_value) FROM pg_sequences ORDER BY 1""",
    "functions": """
        SELECT n.nspname || '.' || p.proname, pg_get_functiondef(p.oid) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'archiver') AND p.prokind = 'f'
          AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e') ORDER BY 1, 2""",
    "extensions": "SELECT extname, extversion FROM pg_extension ORDER BY 1",
}


def differences(left: str, right: str) -> list[str]:
    """What differs between two databases: relations, shapes, rows. Empty: they are equal."""
    with psycopg.connect(left) as one, psycopg.connect(right) as two:
        for connection in (one, two):
            connection.execute("SET search_path = ''")
        found: list[str] = []
        relations = [tuple(row) for row in one.execute(RELATIONS).fetchall()]
        others = [tuple(row) for row in two.execute(RELATIONS).fetchall()]
        found += [f"only in the first: {name}" for name in sorted(set(relations) - set(others))]
        found += [f"only in the second: {name}" for name in sorted(set(others) - set(relations))]
        for shape, query in SHAPES.items():
            first, second = shapes(one, query), shapes(two, query)
            names = sorted(name for name in {*first, *second} if first.get(name) != second.get(name))
            found += [f"{shape} of {name}: {first.get(name)} | {second.get(name)}" for name in names]
        for schema, name, kind in relations:
            if kind in {"r", "m"} and (schema, name, kind) in others:
                found += rows(one, two, str(schema), str(name))
        return found


def shapes(connection: psycopg.Connection, query: str) -> dict[str, str]:
    """Name to definition."""
    return {str(name): str(shape) for name, shape in connection.execute(sql.SQL(query)).fetchall()}


def rows(one: psycopg.Connection, two: psycopg.Connection, schema: str, name: str) -> list[str]:
    """Row differences of one table, as a multiset of whole rows."""
    query = sql.SQL(
        "SELECT count(*), coalesce(sum(('x' || left(md5(t::text), 15))::bit(60)::bigint), 0) FROM (SELECT {columns} FROM {table}) t"
    )
    listing = one.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = format('%%I.%%I', %s::text, %s::text)::regclass AND attnum > 0 AND NOT attisdropped ORDER BY 1",
        (schema, name),
    ).fetchall()
    columns = sql.SQL(", ").join(sql.Identifier(str(row[0])) for row in listing)
    statement = query.format(columns=columns, table=sql.Identifier(schema, name))
    first, second = one.execute(statement).fetchone(), two.execute(statement).fetchone()
    return [] if first == second else [f"rows of {schema}.{name}: {first} | {second}"]
