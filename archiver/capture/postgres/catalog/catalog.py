"""The catalog under the snapshot of the caller's transaction: what is captured, how, and what replay must know of it.

Relations of extensions, of system schemas, of our own schema and temporary ones are not ours to capture and do not appear. Every query
runs with the ``search_path`` of ``session_settings``, so that bare names are those of ``pg_catalog``.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from archiver.capture.postgres.catalog.capture_mode import Cause, choose_mode
from archiver.capture.postgres.catalog.outside_schemas import read_outside
from archiver.capture.postgres.catalog.own_objects import OWN_SCHEMAS
from archiver.capture.postgres.catalog.redaction import Named, Redaction, ancestors, row_columns
from archiver.capture.postgres.catalog.scope import Scope
from archiver.capture.postgres.catalog.user_publications import read_user_publications
from archiver.capture.postgres.session.access import Session, translated
from archiver.postgres.records import NOT_COUNTED, Catalog, Column, Extension, RedactedColumn, Table, TypeShape

_MEMBER = "NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')"
_SPACE = f"n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.oid <> ALL (ARRAY({OWN_SCHEMAS}))"
OURS = f"{_SPACE} AND c.relpersistence <> 't' AND {_MEMBER}"

_TABLES = f"""
SELECT c.oid::int8, n.nspname, c.relname, c.relkind::text, c.relpersistence::text, c.relreplident::text,
       c.relfilenode::int8, c.relnatts::int,
       coalesce((SELECT i.inhparent::int8 FROM pg_inherits i WHERE i.inhrelid = c.oid ORDER BY i.inhseqno LIMIT 1), 0),
       (SELECT (string_to_array(i.indkey::text, ' ')::int[])[1:i.indnkeyatts] FROM pg_index i
         WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
           AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND {OURS}
 ORDER BY n.nspname, c.relname
"""

_COLUMNS = f"""
SELECT c.oid::int8, a.attnum::int, a.attname, format_type(a.atttypid, a.atttypmod), a.atttypid::int8, a.attnotnull,
       a.attgenerated::text, a.attidentity::text, a.xmin::text,
       CASE WHEN t.typdelim = ',' THEN (a.attmissingval::text::text[])[1]
            WHEN left(m.text, 1) = '"' THEN regexp_replace(substring(m.text FROM 2 FOR length(m.text) - 2), '\\\\(.)', '\\1', 'g')
            ELSE m.text END
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_type t ON t.oid = a.atttypid
  CROSS JOIN LATERAL (SELECT substring(a.attmissingval::text FROM 2 FOR length(a.attmissingval::text) - 2)) m (text)
 WHERE c.relkind IN ('r', 'p') AND {OURS}
 ORDER BY c.oid, a.attnum
"""

_INHERITS = "SELECT inhrelid::int8, inhparent::int8 FROM pg_inherits ORDER BY 1, inhseqno"

# No row can be put back without its part of a partition key, nor where NULL is refused: by the type, by a generated column that is NOT
# NULL, by an index that takes one NULL only.
_NEEDED = f"""
SELECT c.oid::int8, a.attnum::int, a.attname, pg_get_partkeydef(c.oid),
       EXISTS (WITH RECURSIVE d (oid) AS (SELECT a.atttypid UNION SELECT y.typbasetype FROM d JOIN pg_type y ON y.oid = d.oid
                                           WHERE y.typtype = 'd')
               SELECT FROM d JOIN pg_type y ON y.oid = d.oid WHERE y.typtype = 'd' AND y.typnotnull)
       OR EXISTS (SELECT FROM pg_attrdef x JOIN pg_attribute g ON g.attrelid = x.adrelid AND g.attnum = x.adnum
                    JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = x.oid
                   WHERE x.adrelid = c.oid AND g.attgenerated <> '' AND g.attnotnull AND d.refclassid = 'pg_class'::regclass
                     AND d.refobjid = c.oid AND d.refobjsubid = a.attnum)
       OR EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indnullsnotdistinct AND a.attnum = ANY (i.indkey))
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relkind IN ('r', 'p') AND {OURS}
"""

_INNER = """CROSS JOIN LATERAL (
          SELECT t.typelem WHERE t.typelem <> 0
          UNION ALL SELECT t.typbasetype WHERE t.typbasetype <> 0
          UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
          UNION ALL SELECT a.atttypid FROM pg_attribute a
                     WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
      ) inner_type (oid)"""
"""The types that values of ``t`` hold."""

# Types of the server itself neither have labels nor change: 16384 is the first oid that a user's object can have.
_TYPES = f"""
WITH RECURSIVE used (relation, type) AS (
    SELECT c.oid, a.atttypid
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
     WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid >= 16384 AND {OURS}
    UNION
    SELECT u.relation, inner_type.oid
      FROM used u JOIN pg_type t ON t.oid = u.type
      {_INNER}
     WHERE inner_type.oid >= 16384
)
SELECT u.relation::int8, u.type::int8,
       CASE t.typtype WHEN 'e' THEN (SELECT jsonb_object_agg(l.oid::text, l.enumlabel) FROM pg_enum l WHERE l.enumtypid = t.oid) END,
       CASE t.typtype WHEN 'c' THEN (SELECT jsonb_agg(jsonb_build_array(a.attnum, a.atttypid::int8) ORDER BY a.attnum)
                                       FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) END
  FROM used u JOIN pg_type t ON t.oid = u.type
 WHERE t.typtype IN ('e', 'c')
 ORDER BY 1, 2
"""

_NAMING = f"""
WITH RECURSIVE used (held, type) AS (
    SELECT DISTINCT a.atttypid, a.atttypid
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
     WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped AND {OURS}
    UNION
    SELECT u.held, inner_type.oid
      FROM used u JOIN pg_type t ON t.oid = u.type
      {_INNER}
)
SELECT DISTINCT u.held::int8 FROM used u JOIN pg_type t ON t.oid = u.type
 WHERE t.oid < 16384 AND (t.typname ~ '^reg' OR t.typname = 'aclitem')
"""

# pg_shdepend names every role that an object of this database depends on, except the bootstrap superuser (oid 10), who is pinned.
_ROLES = """
SELECT rolname FROM pg_roles r
 WHERE rolname !~ '^pg_'
   AND (r.oid IN (SELECT d.refobjid FROM pg_shdepend d
                   WHERE d.refclassid = 'pg_authid'::regclass
                     AND d.dbid = (SELECT b.oid FROM pg_database b WHERE b.datname = current_database()))
        OR EXISTS (SELECT FROM pg_class c WHERE c.relowner = r.oid AND c.oid >= 16384)
        OR EXISTS (SELECT FROM pg_proc p WHERE p.proowner = r.oid AND p.oid >= 16384)
        OR EXISTS (SELECT FROM pg_namespace n WHERE n.nspowner = r.oid AND n.oid >= 16384))
 ORDER BY rolname
"""

_VIEWS = f"""
SELECT c.oid::int8, n.nspname, c.relname, c.relkind = 'm' AND c.relispopulated AND {_MEMBER},
       ARRAY(SELECT DISTINCT d.refobjid::int8 FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
              WHERE r.ev_class = c.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> c.oid)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('m', 'v') AND {_SPACE}
 ORDER BY c.oid
"""

# Objects of the server itself stay what they are: 16384 is the first oid that a user's object can have.
_COMPUTED = f"""
SELECT n.nspname, c.relname, a.attname
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attrdef x ON x.adrelid = a.attrelid AND x.adnum = a.attnum
 WHERE a.attgenerated = 's' AND NOT a.attisdropped AND c.relkind = 'r' AND {OURS}
   AND EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_attrdef'::regclass AND d.objid = x.oid AND d.refobjid >= 16384
                  AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_ts_config'::regclass, 'pg_ts_dict'::regclass))
 ORDER BY 1, 2, a.attnum
"""

_EXTENSIONS = """
SELECT e.extname::text, e.extversion, n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
 WHERE e.extname <> 'plpgsql' ORDER BY e.extname
"""


@dataclass(frozen=True)
class ObservedCatalog:
    """The catalog, and why tables are not captured whole (by oid)."""

    catalog: Catalog
    causes: dict[int, Cause]

    def table(self, oid: int) -> Table | None:
        """The table with this oid."""
        return next((table for table in self.catalog.tables if table.oid == oid), None)


async def read_catalog(session: Session, scope: Scope) -> ObservedCatalog:
    """Everything in ``Catalog`` but ``pending``. The caller's transaction must be REPEATABLE READ, or the parts may not fit each other.

    Raises what ``access.translated`` says.
    """
    try:
        tables, causes = await _tables(session, scope)
        shapes, used = await _types(session)
        extensions = [Extension(*row) for row in await _rows(session, _EXTENSIONS)]
        catalog = Catalog(
            tables=[_with_types(table, used) for table in tables],
            roles=[row[0] for row in await _rows(session, _ROLES)],
            materialized=await _materialized(session, scope),
            computed=[".".join(row) for row in await _rows(session, _COMPUTED) if scope.covers(row[0], row[1])],
            extensions=[extension.name for extension in extensions],
            types=shapes,
            installed=extensions,
            publications=await read_user_publications(session, scope),
            outside=await read_outside(session, list(scope.schemas)) if scope.schemas else [],
        )
    except psycopg.Error as error:
        raise translated(error, "reading the catalog") from error
    scope.redaction.note(catalog)
    return ObservedCatalog(catalog, causes)


async def count_writes(session: Session, catalog: Catalog) -> dict[int, int]:
    """Insert-only tables of ``catalog`` to their updates and deletes so far, as the server's statistics count them; ``NOT_COUNTED`` when
    the server does not (``track_counts`` is off).

    The statistics follow a commit within a second, or a minute when they are contended; they begin anew after a crash.
    """
    oids = [table.oid for table in catalog.tables if table.mode == "insert"]
    if not oids:
        return {}
    try:
        cursor = await session.execute(
            "SELECT o::int8, CASE WHEN current_setting('track_counts')::bool THEN pg_stat_get_tuples_updated(o)"
            " + pg_stat_get_tuples_deleted(o) ELSE %s END FROM unnest(%s::oid[]) o",
            [NOT_COUNTED, oids],
        )
        return dict(await cursor.fetchall())
    except psycopg.Error as error:
        raise translated(error, "reading statistics") from error


async def _rows(session: Session, query: str) -> list[tuple[Any, ...]]:
    cursor = await session.execute(query.encode())
    return await cursor.fetchall()


async def _tables(session: Session, scope: Scope) -> tuple[list[Table], dict[int, Cause]]:
    columns: dict[int, list[Column]] = defaultdict(list)
    versions: dict[int, list[str]] = defaultdict(list)
    for oid, attnum, name, type_name, type_oid, not_null, generated, identity, xmin, missing in await _rows(session, _COLUMNS):
        columns[oid].append(Column(attnum, name, type_name, type_oid, not_null, generated, identity, missing))
        versions[oid].append(f"{attnum}:{xmin}")
    tables: list[Table] = []
    causes: dict[int, Cause] = {}
    naming = {row[0] for row in await _rows(session, _NAMING)}
    found = await _rows(session, _TABLES)
    redacting = await _Redacting.read(session, scope.redaction, {row[0]: Named(row[1], row[2]) for row in found}, columns)
    redacting.see_partitioned(row[0] for row in found if row[3] == "p")
    for oid, schema, name, kind, persistence, identity, filenode, natts, parent, index_key in found:
        redacted = redacting.hidden(oid)
        hidden = {each.attnum for each in redacted}
        if hidden:
            columns[oid] = [msgspec.structs.replace(each, missing=None) if each.attnum in hidden else each for each in columns[oid]]
        mode, key, cause = choose_mode(
            kind=kind,
            persistence=persistence,
            identity=identity,
            index_key=index_key,
            columns=columns[oid],
            covered=scope.covers(schema, name),
            server_version=session.info.server_version,
            hidden=hidden,
            needed=redacting.needed(oid, columns[oid]) if hidden else (),
        )
        version = hashlib.blake2b(" ".join(versions[oid]).encode(), digest_size=8).hexdigest()
        table = Table(
            oid,
            schema,
            name,
            kind,
            persistence,
            identity,
            filenode,
            mode,
            columns[oid],
            key,
            parent,
            version,
            natts=natts,
            naming=[column.attnum for column in columns[oid] if column.type_oid in naming],
            redacted=redacted,
            # The server knows no list of columns beside REPLICA IDENTITY FULL.
            listed=mode in ("key", "insert") and identity != "f" and (bool(hidden) or redacting.is_about(oid, columns[oid])),
        )
        tables.append(table)
        if cause:
            causes[oid] = cause
    return tables, causes


class _Redacting:
    """Which columns of which tables are hidden, partitions and children with their tables."""

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._named: Mapping[int, Named] = {}
        self._columns: Mapping[int, Sequence[Column]] = {}
        self._alike: dict[frozenset[str], dict[str, str]] = {}
        self._parents: dict[int, list[int]] = defaultdict(list)
        self._keys: dict[int, str] = {}
        self._refusing: set[tuple[int, int]] = set()

    @classmethod
    async def read(
        cls, session: Session, redaction: Redaction, named: Mapping[int, Named], columns: Mapping[int, list[Column]]
    ) -> _Redacting:
        """``named``, ``columns``: of all tables, by oid. Nothing is asked where nothing is hidden."""
        made = cls(redaction)
        if not redaction.lines:
            return made
        made._named, made._columns = named, dict(columns)
        for child, parent in await _rows(session, _INHERITS):
            made._parents[child].append(parent)
        for oid, attnum, _, key, refuses in await _rows(session, _NEEDED):
            if key:
                made._keys[oid] = key
            if refuses:
                made._refusing.add((oid, attnum))
        return made

    def _line(self, oid: int) -> list[Named]:
        return [self._named[each] for each in ancestors(oid, self._parents) if each in self._named]

    def is_about(self, oid: int, columns: Sequence[Column]) -> bool:
        """Whether a line names the table, whose columns can be listed."""
        return self._redaction.is_about(self._line(oid)) and not all(column.generated for column in columns)

    def see_partitioned(self, oids: Iterable[int]) -> None:
        """Partitioned tables: another table with the very columns of one may be attached at any moment, and is hidden as a partition is."""
        for oid in oids if self._redaction.lines else ():
            names = {column.attnum: column.name for column in self._columns.get(oid, ())}
            if found := {names[one.attnum]: one.line for one in self.hidden(oid)}:
                self._alike.setdefault(row_columns(self._columns[oid]), {}).update(found)

    def hidden(self, oid: int) -> list[RedactedColumn]:
        """Of the columns of ``oid``. What is hidden above it, or in what it may be attached to, is hidden by the name of the moment."""
        if not self._redaction.lines:
            return []
        columns = self._columns.get(oid, ())
        above = dict(self._alike.get(row_columns(columns), {})) if self._alike else {}
        for each in ancestors(oid, self._parents)[1:]:
            names = {column.attnum: column.name for column in self._columns.get(each, ())}
            above |= {names[one.attnum]: one.line for one in self._redaction.hidden(each, self._line(each), self._columns.get(each, ()))}
        own = {one.attnum: one for one in self._redaction.hidden(oid, self._line(oid), columns)}
        found = [own.get(each.attnum) or RedactedColumn(each.attnum, above.get(each.name, "")) for each in columns]
        return [each for each in found if each.line]

    def needed(self, oid: int, columns: Sequence[Column]) -> set[int]:
        """Columns that a partition key above it mentions, one too many rather than one too few, or whose type refuses NULL."""
        keys = " ".join(self._keys.get(each, "") for each in ancestors(oid, self._parents))
        return {each.attnum for each in columns if each.name in keys or (oid, each.attnum) in self._refusing}


async def _types(session: Session) -> tuple[list[TypeShape], dict[int, list[int]]]:
    shapes: dict[int, TypeShape] = {}
    used: dict[int, list[int]] = defaultdict(list)
    for relation, oid, labels, attributes in await _rows(session, _TYPES):
        used[relation].append(oid)
        shapes[oid] = TypeShape(oid, labels or {}, attributes or [])
    return [shapes[oid] for oid in sorted(shapes)], used


def _with_types(table: Table, used: dict[int, list[int]]) -> Table:
    if table.oid not in used:
        return table
    values = {name: getattr(table, name) for name in table.__struct_fields__}
    return Table(**{**values, "types": used[table.oid]})


async def _materialized(session: Session, scope: Scope) -> list[str]:
    rows = {row[0]: row for row in await _rows(session, _VIEWS)}
    return [
        sql.Identifier(rows[oid][1], rows[oid][2]).as_string(None)
        for oid in _sources_first({oid: row[4] for oid, row in rows.items()})
        if rows[oid][3] and scope.covers_schema(rows[oid][1])
    ]


def _sources_first(sources: dict[int, list[int]]) -> list[int]:
    """Views behind those that they read. Views may read each other in a circle (they can only not be read then), which has no order."""
    order: dict[int, None] = {}
    begun: set[int] = set()
    waiting = list(reversed(sources))
    while waiting:
        oid = waiting[-1]
        more = [] if oid in begun else [source for source in sources[oid] if source in sources and source not in begun]
        begun.add(oid)
        waiting += more
        if not more:
            order.setdefault(waiting.pop())
    return list(order)
