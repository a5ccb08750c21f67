"""What in the target runs code of users when it is looked at, checked or planned with. SQL text only."""

from __future__ import annotations

# Functions in C and the server's own are made by superusers alone. Of these too some run SQL that they are given, or act for whoever calls
# them: all that are volatile count, and those that write queries' results as XML. The server keeps no dependencies on its own functions.
CODE = r"""
WITH RECURSIVE code (class, object) AS (
    SELECT 'pg_proc'::regclass::oid, p.oid FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
     WHERE p.oid >= 16384 AND l.lanname NOT IN ('c', 'internal')
    UNION ALL
    SELECT 'pg_operator'::regclass::oid, o.oid FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode
      JOIN pg_language l ON l.oid = p.prolang
     WHERE o.oid >= 16384 AND l.lanname NOT IN ('c', 'internal')
), acting (object) AS (
    SELECT DISTINCT k.oid FROM pg_constraint k
     CROSS JOIN LATERAL regexp_matches(k.conbin::text, ':(?:op)?funcid (\d+)', 'g') m (id) JOIN pg_proc p ON p.oid = m.id[1]::oid
      JOIN pg_language l ON l.oid = p.prolang
     WHERE k.contype = 'c' AND k.oid >= 16384 AND l.lanname IN ('c', 'internal') AND (p.provolatile = 'v' OR p.proname ~ '_to_xml')
), caller (class, object) AS (
    SELECT d.classid, d.objid FROM pg_depend d JOIN code ON d.refclassid = code.class AND d.refobjid = code.object
    UNION
    SELECT 'pg_constraint'::regclass::oid, object FROM acting
), domain (type) AS (
    SELECT k.contypid FROM pg_constraint k JOIN caller ON caller.class = 'pg_constraint'::regclass AND caller.object = k.oid
     WHERE k.contypid <> 0
), holder (type) AS (
    SELECT type FROM domain
    UNION
    SELECT x.type FROM holder h JOIN LATERAL (
        SELECT t.oid FROM pg_type t WHERE t.typelem = h.type OR t.typbasetype = h.type
        UNION ALL SELECT r.rngtypid FROM pg_range r WHERE r.rngsubtype = h.type
        UNION ALL SELECT r.rngmultitypid FROM pg_range r WHERE r.rngsubtype = h.type
        UNION ALL SELECT c.reltype FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
                   WHERE a.atttypid = h.type AND a.attnum > 0 AND NOT a.attisdropped AND c.reltype <> 0
    ) x (type) ON true
)
"""
"""What runs the code of users: expressions that call it, and types that do so wherever a value of theirs is made."""

PLANNED = """
SELECT DISTINCT i.indrelid AS relation FROM pg_index i JOIN caller ON caller.class = 'pg_class'::regclass AND caller.object = i.indexrelid
UNION
SELECT s.stxrelid FROM pg_statistic_ext s JOIN caller ON caller.class = 'pg_statistic_ext'::regclass AND caller.object = s.oid
"""
"""Tables of which the planner calls code of users, with the rights of whoever asks, before a query on them has begun: it computes what is
constant in the expressions of their indexes and statistics."""

PLANNED_TABLES = (
    CODE
    + f"""
SELECT wanted.place, o.rolname FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS wanted (schema, name, place)
  JOIN pg_namespace n ON n.nspname = wanted.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
  JOIN pg_roles o ON o.oid = c.relowner
 WHERE c.oid IN ({PLANNED}) AND NOT o.rolsuper AND o.rolname <> current_user
"""
)
"""Those of some tables, by schemas and names, with their owners: place (from 1) and owner. Owners with the asking role's rights aside."""

JOINED = """
SELECT EXISTS (
    SELECT FROM pg_depend d LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
      JOIN pg_proc p ON p.oid = coalesce(o.oprcode::oid, CASE WHEN d.refclassid = 'pg_proc'::regclass THEN d.refobjid END)
      JOIN pg_language l ON l.oid = p.prolang
     WHERE l.lanname NOT IN ('c', 'internal') AND p.oid >= 16384
       AND (d.classid IN ('pg_statistic_ext'::regclass, 'pg_cast'::regclass)
            OR (d.classid = 'pg_class'::regclass AND d.objid IN (SELECT i.indexrelid FROM pg_index i))))
"""
"""Whether a query that joins tables, or a comparison of indexes, may call code of users."""

CHECKED = (
    CODE
    + """
SELECT EXISTS (SELECT FROM pg_constraint k JOIN caller ON caller.class = 'pg_constraint'::regclass AND caller.object = k.oid
                WHERE k.contype = 'c' AND k.conrelid <> 0)
"""
)
"""Whether the check of any table calls code of users."""

ATTACHED = (
    CODE
    + """
SELECT EXISTS (SELECT FROM pg_constraint k JOIN caller ON caller.class = 'pg_constraint'::regclass AND caller.object = k.oid
                 JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE k.contype = 'c' AND (c.relispartition OR (n.nspname = %s AND c.relname = %s)))
"""
)
"""Whether code of users may be called where a table (schema and name) becomes a partition: the server computes what is constant in the
checks of that and of others, to see whether they say what partitions must hold."""

DOMAIN_CHECKS = (
    CODE
    + """
SELECT convert_to(k.contypid::regtype::text, %s), convert_to(quote_ident(k.conname), %s), convert_to(pg_get_constraintdef(k.oid), %s),
       convert_to(quote_ident(o.rolname), %s)
  FROM pg_constraint k JOIN acting ON acting.object = k.oid
  JOIN pg_type t ON t.oid = k.contypid JOIN pg_namespace n ON n.oid = t.typnamespace JOIN pg_roles o ON o.oid = t.typowner
 WHERE n.nspname = %s AND t.typname = %s
 ORDER BY k.conname
"""
)
"""Checks of a domain (schema and name) that call functions of the server that act: domain, name, definition and owner, quoted, in an
encoding."""

DOMAIN_FUNCTIONS = (
    CODE
    + """
, reached (class, object) AS (
    SELECT 'pg_constraint'::regclass::oid, k.oid FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
      JOIN pg_constraint k ON k.contypid = t.oid
     WHERE n.nspname = %s AND t.typname = %s
    UNION
    SELECT d.refclassid, d.refobjid FROM reached r JOIN pg_depend d ON d.classid = r.class AND d.objid = r.object
     WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass)
)
SELECT DISTINCT convert_to(p.oid::regprocedure::text, %s) FROM reached
  JOIN code ON code.class = 'pg_proc'::regclass AND code.object = reached.object AND reached.class = code.class
  JOIN pg_proc p ON p.oid = code.object JOIN pg_roles r ON r.oid = p.proowner
 WHERE p.prokind = 'f' AND NOT p.prosecdef AND NOT r.rolsuper AND r.rolname <> current_user
"""
)
"""Functions of users that the checks of a domain (schema and name) call with the rights of whoever makes a value, also by operators and for
arguments that a call leaves out, those of roles with the
asking role's rights aside: with their arguments, quoted, in an encoding."""

SIGNATURE = """p.proname || '(' || CASE WHEN p.prokind = 'a' AND p.pronargs = 0 THEN '*' ELSE
         array_to_string(ARRAY(SELECT format_type(a.type, NULL)
                                 FROM unnest(p.proargtypes) WITH ORDINALITY AS a (type, n) ORDER BY a.n), ', ')
       END || ')'"""
"""What a dump calls ``p``, a routine, beside its schema."""

FUNCTIONS_OF_OTHERS = f"""
SELECT convert_to(p.oid::regprocedure::text, %s) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_language l ON l.oid = p.prolang JOIN pg_roles r ON r.oid = p.proowner
 WHERE p.oid >= 16384 AND l.lanname NOT IN ('c', 'internal') AND p.prokind = 'f' AND NOT p.prosecdef
   AND NOT r.rolsuper AND r.rolname <> current_user
   AND (%s OR EXISTS (SELECT FROM unnest(%s::text[], %s::text[]) AS wanted (schema, name)
                       WHERE wanted.schema = n.nspname AND wanted.name = {SIGNATURE}))
"""
"""Those of some functions that run with the rights of whoever calls them, those of roles with the asking role's rights aside: written as
the server writes them, in an encoding. Of all, or of those with these schemas, and names with the types of their arguments."""

HAS_KEY = """
SELECT EXISTS (SELECT FROM pg_partitioned_table t JOIN pg_class c ON c.oid = t.partrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE t.partexprs IS NOT NULL AND n.nspname = %s AND c.relname = %s)
"""
"""Whether rows of a table (schema and name) are told apart by an expression. The server computes what is constant in it whenever it opens
the table: to attach a partition, to make a trigger or a foreign key."""

_PLANNED_WITH = """
EXISTS (
    SELECT FROM pg_depend d LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
      JOIN pg_proc p ON p.oid = coalesce(o.oprcode::oid, CASE WHEN d.refclassid = 'pg_proc'::regclass THEN d.refobjid END)
      JOIN pg_language l ON l.oid = p.prolang JOIN pg_roles maker ON maker.oid = p.proowner
     WHERE l.lanname NOT IN ('c', 'internal') AND NOT maker.rolsuper
       AND ((d.classid = 'pg_class'::regclass AND d.objid IN (SELECT i.indexrelid FROM pg_index i WHERE i.indrelid = c.oid))
            OR (d.classid = 'pg_statistic_ext'::regclass AND d.objid IN (SELECT s.oid FROM pg_statistic_ext s WHERE s.stxrelid = c.oid))))
"""
"""Whether the planner calls code that is no superuser's of ``c``, a table. Cheap: by the dependencies of that alone."""

PLANNED_BY_OTHERS = f"""
SELECT c.oid::int8 FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
 WHERE c.oid = ANY(%s::oid[]) AND NOT r.rolsuper AND r.rolname <> current_user AND {_PLANNED_WITH}
"""
"""Those of some tables (oids) that belong to roles with fewer rights than the asking one, and of which the planner calls code that is no
superuser's."""

PLANNED_BESIDE = f"""
SELECT EXISTS (
    SELECT FROM unnest(%s::text[], %s::text[]) AS wanted (schema, name) JOIN pg_namespace n ON n.nspname = wanted.schema
      JOIN pg_class root ON root.relnamespace = n.oid AND root.relname = wanted.name
      JOIN LATERAL (SELECT root.oid UNION SELECT relid FROM pg_partition_tree(root.oid)) part (oid) ON true
      JOIN pg_class c ON c.oid = part.oid JOIN pg_roles r ON r.oid = c.relowner
     WHERE NOT r.rolsuper AND r.rolname <> %s AND {_PLANNED_WITH})
"""
"""Whether a query of a role on some tables (schemas and names) and their partitions would call such code of others."""
