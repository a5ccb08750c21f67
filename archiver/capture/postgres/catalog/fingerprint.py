"""One short text that changes whenever pg_dump could say something else about this database.

Every catalog row that a dump depends on is counted by oid and xmin, except those that change without DDL: VACUUM and ANALYZE write in
place, TRUNCATE and CLUSTER change only ``pg_class.relfilenode`` (so ``pg_class`` is counted by its columns), temporary objects come and go.
"""

from __future__ import annotations

import psycopg

from archiver.capture.postgres.catalog.user_publications import NOT_OURS
from archiver.capture.postgres.session.access import Session, translated

_KEPT_CLASS = "NOT EXISTS (SELECT FROM pg_class k WHERE k.oid = {column} AND (k.relpersistence = 't' OR k.relkind = 't'))"
_KEPT_SPACE = "NOT EXISTS (SELECT FROM pg_namespace k WHERE k.oid = {column} AND k.nspname ~ '^pg_(temp|toast)')"

_BY_NAMESPACE = {
    "pg_collation": "collnamespace",
    "pg_constraint": "connamespace",
    "pg_conversion": "connamespace",
    "pg_opclass": "opcnamespace",
    "pg_operator": "oprnamespace",
    "pg_opfamily": "opfnamespace",
    "pg_proc": "pronamespace",
    "pg_statistic_ext": "stxnamespace",
    "pg_ts_config": "cfgnamespace",
    "pg_ts_dict": "dictnamespace",
    "pg_ts_parser": "prsnamespace",
    "pg_ts_template": "tmplnamespace",
    "pg_type": "typnamespace",
}
_BY_CLASS = {
    "pg_attrdef": "adrelid",
    "pg_attribute": "attrelid",
    "pg_index": "indexrelid",
    "pg_inherits": "inhrelid",
    "pg_partitioned_table": "partrelid",
    "pg_policy": "polrelid",
    "pg_rewrite": "ev_class",
    "pg_sequence": "seqrelid",
    "pg_trigger": "tgrelid",
}
_WHOLE = [
    "pg_am",
    "pg_amop",
    "pg_amproc",
    "pg_cast",
    "pg_default_acl",
    "pg_description",
    "pg_enum",
    "pg_event_trigger",
    "pg_extension",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_foreign_table",
    "pg_init_privs",
    "pg_language",
    "pg_range",
    "pg_seclabel",
    "pg_transform",
    "pg_ts_config_map",
]
_CLASS_COLUMNS = (
    "oid, relname, relnamespace, reltype, reloftype, relowner, relam, reltablespace, relpersistence, relkind, relchecks, relrowsecurity,"
    " relforcerowsecurity, relispopulated, relreplident, relispartition, relacl, reloptions, relpartbound"
)

# A dump names owners and grantees. Other roles come and go: some programs make themselves one for every hour. Oid 10 is not in pg_shdepend.
_NAMED_ROLE = (
    "x.oid = 10 OR x.oid IN (SELECT d.refobjid FROM pg_shdepend d WHERE d.refclassid = 'pg_authid'::regclass"
    " AND d.dbid = (SELECT b.oid FROM pg_database b WHERE b.datname = current_database()))"
)


def _term(catalog: str, text: str, where: str = "true") -> str:
    return (
        f"SELECT '{catalog}' AS c, count(*) AS n, coalesce(sum(hashtextextended({text}, 0)::numeric), 0) AS h"
        f" FROM {catalog} x WHERE {where}"
    )


def _query() -> str:
    row = "x.ctid::text || x.xmin::text"
    terms = [
        *(_term(name, row, _KEPT_SPACE.format(column=f"x.{column}")) for name, column in _BY_NAMESPACE.items()),
        *(_term(name, row, _KEPT_CLASS.format(column=f"x.{column}")) for name, column in _BY_CLASS.items()),
        *(_term(name, row) for name in _WHOLE),
        _term("pg_namespace", "x.oid::text || x.xmin::text", "x.nspname !~ '^pg_(temp|toast)'"),
        _term(
            "pg_depend",
            "x.classid::text || x.objid::text || x.refclassid::text || x.refobjid::text || x.deptype::text",
            "x.deptype IN ('e', 'x')",
        ),
        _term("pg_roles", "x.oid::text || x.rolname", _NAMED_ROLE),
        _term("pg_user_mappings", "x::text"),
        # The archiver's own change with every table.
        _term("pg_publication", row, NOT_OURS.format(column="x.pubname")),
        *(
            _term(name, row, f"x.{column} IN (SELECT k.oid FROM pg_publication k WHERE {NOT_OURS.format(column='k.pubname')})")
            for name, column in (("pg_publication_rel", "prpubid"), ("pg_publication_namespace", "pnpubid"))
        ),
        _term(
            "pg_class",
            f"ROW({', '.join('x.' + name for name in _CLASS_COLUMNS.split(', '))})::text",
            "x.relpersistence <> 't' AND x.relkind <> 't'",
        ),
    ]
    return f"SELECT md5(string_agg(c || n::text || ':' || h::text, ',' ORDER BY c)) FROM ({' UNION ALL '.join(terms)}) t"


_FINGERPRINT = _query().encode()


async def read_fingerprint(session: Session) -> str:
    """The fingerprint under the snapshot of the caller's transaction or, outside of one, of this moment."""
    try:
        row = await (await session.execute(_FINGERPRINT)).fetchone()
    except psycopg.Error as error:
        raise translated(error, "reading the catalog") from error
    assert row is not None
    return str(row[0])
