"""What preflight looks at: one round of queries over an ordinary session, no judgement."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import psycopg

from archiver.capture.postgres.catalog.catalog import ObservedCatalog, count_writes, read_catalog
from archiver.capture.postgres.catalog.ddl_triggers import Announcing, Installation, announcing, plan_installation
from archiver.capture.postgres.catalog.own_objects import Candidate, candidates
from archiver.capture.postgres.catalog.publication import Publication, read_publication
from archiver.capture.postgres.catalog.redaction import Before, Redaction
from archiver.capture.postgres.catalog.scope import Scope
from archiver.capture.postgres.catalog.seal_keys import others_with_keys, read_seal_keys
from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.session.access import Session, restricts_views, translated

_SETTINGS = (
    "idle_replication_slot_timeout",
    "max_replication_slots",
    "max_slot_wal_keep_size",
    "max_wal_senders",
    "server_encoding",
    "sync_replication_slots",
    "synchronized_standby_slots",
    "synchronous_standby_names",
    "wal_level",
)

_BREAKING = {"no_identity", "identity_nothing", "identity_index_lost"}


@dataclass(frozen=True)
class Rights:
    """What the session's role may do with one relation."""

    select: bool
    schema: bool
    """USAGE on its schema."""
    owner: bool
    """Owns it, or is a member of its owner."""
    owner_name: str
    hidden_rows: bool
    """Row-level security would apply to the role."""
    owner_superuser: bool = False
    """Its owner is one: nobody else should become a member."""


@dataclass(frozen=True)
class Standby:
    """A physical standby that streams now, as the primary sees it."""

    name: str
    """Its ``application_name``, or its slot's name."""
    slot: str
    """Its physical slot; empty: it has none."""
    feedback: bool
    """It holds rows back for its queries (``hot_standby_feedback``); only its slot tells."""


@dataclass(frozen=True)
class Facts:
    """Everything that was looked at."""

    version: int
    database: str
    role: str
    superuser: bool
    replication: bool
    create: bool
    """CREATE on the database."""
    recovery: bool
    settings: dict[str, str]
    """Of ``_SETTINGS``, in base units; a name that the server does not know is missing."""
    slots: int
    senders: int
    standbys: list[Standby]
    read_slots: list[str]
    """Slots, of both kinds, with a reader."""
    slot_sync: bool
    """The session of a standby that synchronizes slots (17 and newer) is seen."""
    slot_exists: bool
    observed: ObservedCatalog
    rights: dict[int, Rights]
    publications: tuple[Publication | None, Publication | None]
    triggers: Announcing
    """Whether our event triggers are there."""
    sealed: bool = False
    """The role can tell what they announce from what anybody sends."""
    key_readers: list[str] = field(default_factory=list)
    """Roles to whom its keys were given, and who have no business to read them."""
    installation: Installation = field(default_factory=lambda: Installation([]))
    """What makes them be there, as they are in this version."""
    candidates: dict[str, Candidate] = field(default_factory=dict)
    """Schemas that have one of our names."""
    restricts_views: bool = True
    """The server keeps a view from running with the rights of whoever reads it under the name of something else."""
    sequences: list[tuple[str, str]] = field(default_factory=list)
    """Captured ones: schema and name."""
    hidden_sequences: list[tuple[str, str]] = field(default_factory=list)
    """Those that may not be read."""
    row_security: frozenset[int] = frozenset()
    """Tables with row-level security, for whoever does not go around it."""
    schemas: frozenset[str] = frozenset()
    """All that the database has."""
    hidden_schemas: list[str] = field(default_factory=list)
    """Schemas with sequences, without USAGE."""
    foreign_tables: list[str] = field(default_factory=list)
    extension_tables: list[str] = field(default_factory=list)
    """Tables of extensions whose rows pg_dump would dump (``pg_extension_config_dump``)."""
    large_objects: bool = False
    toasted: dict[int, int] = field(default_factory=dict)
    """Tables under REPLICA IDENTITY FULL to the bytes in their TOAST table."""
    prepared: list[str] = field(default_factory=list)
    """Transactions of this database prepared for two-phase commit."""
    writes: dict[int, int] = field(default_factory=dict)
    """Insert-only tables to the updates and deletes that the server has counted."""
    before: Before | None = None
    """What the journal hides already; ``None``: it has no catalog, or none was asked for."""
    breaking: dict[str, list[str]] = field(default_factory=dict)
    """Publications of others to the tables whose UPDATE they make fail."""


async def gather_facts(session: Session, config: PostgresConfig, redaction: Redaction | None = None) -> Facts:
    """Look, under one snapshot. Raises ``Unavailable`` or ``Refused`` when it cannot even look."""
    scope = Scope.of(config, redaction)
    triggers = await announcing(session)
    sealed = await read_seal_keys(session) is not None
    try:
        async with session.transaction():
            await session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return await _gather(session, config, scope, triggers, sealed=sealed)
    except psycopg.Error as error:
        raise translated(error, "looking at the database") from error


async def _gather(session: Session, config: PostgresConfig, scope: Scope, triggers: Announcing, *, sealed: bool) -> Facts:
    async def rows(query: str, *values: Any) -> list[tuple[Any, ...]]:
        return await (await session.execute(query.encode(), values or None)).fetchall()

    [[database, role, recovery]] = await rows("SELECT current_database()::text, current_user::text, pg_is_in_recovery()")
    [[superuser, replication]] = await rows("SELECT rolsuper, rolreplication FROM pg_roles WHERE rolname = current_user")
    [[create]] = await rows("SELECT has_database_privilege(current_database(), 'CREATE')")
    [[slots, slot_exists]] = await rows(
        "SELECT count(*), coalesce(bool_or(slot_name = %s AND database = current_database() AND plugin = 'pgoutput'), false)"
        " FROM pg_replication_slots",
        config.slot,
    )
    [[senders, read_slots, slot_sync]] = await rows(
        "SELECT (SELECT count(*) FROM pg_stat_replication),"
        " ARRAY(SELECT slot_name::text FROM pg_replication_slots WHERE active ORDER BY 1),"
        # The worker's session: its name falls back to "[cluster name_]slotsync worker", or is the one in primary_conninfo.
        " EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid IS NOT NULL AND a.pid NOT IN (SELECT pid FROM pg_stat_replication)"
        " AND (a.application_name LIKE '%%slotsync worker' OR a.application_name IN (SELECT r.application_name FROM pg_stat_replication r"
        " JOIN pg_replication_slots s ON s.active_pid = r.pid WHERE s.slot_type = 'physical' AND r.application_name <> '')))"
    )
    standbys = [
        Standby(name, slot, feedback)
        for name, slot, feedback in await rows(
            "SELECT coalesce(nullif(r.application_name, ''), s.slot_name, ''), coalesce(s.slot_name, ''), s.xmin IS NOT NULL"
            " FROM pg_stat_replication r LEFT JOIN pg_replication_slots s ON s.active_pid = r.pid"
            " WHERE s.slot_type IS DISTINCT FROM 'logical' ORDER BY 1"
        )
    ]
    observed = await read_catalog(session, scope)
    names = config.publications
    version = session.info.server_version
    identityless = [
        oid for oid, cause in observed.causes.items() if cause in _BREAKING or (cause == "generated_in_identity" and version >= 180000)
    ]
    breaking: dict[str, list[str]] = {}
    for publication, schema, table in await rows(
        "SELECT p.pubname, v.schemaname, v.tablename FROM pg_publication p JOIN pg_publication_tables v USING (pubname)"
        " JOIN pg_namespace n ON n.nspname = v.schemaname JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = v.tablename"
        " WHERE (p.pubupdate OR p.pubdelete) AND NOT p.pubname = ANY(%s) AND c.oid = ANY(%s::oid[]) ORDER BY 1, 2, 3",
        list(names),
        identityless,
    ):
        breaking.setdefault(publication, []).append(f"{schema}.{table}")
    sequences = [
        row
        for row in await rows(
            # The order of AND is the planner's; the function refuses what is no sequence.
            "SELECT n.nspname, c.relname, CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, 'SELECT,USAGE') END"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND NOT EXISTS (SELECT FROM pg_depend e"
            " WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e') ORDER BY 1, 2"
        )
        if scope.covers_schema(row[0])
    ]
    return Facts(
        version=version,
        database=database,
        role=role,
        superuser=superuser,
        replication=replication or superuser,
        create=create,
        recovery=recovery,
        settings=dict(await rows("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", list(_SETTINGS))),
        slots=slots,
        senders=senders,
        standbys=standbys,
        read_slots=read_slots,
        slot_sync=slot_sync,
        slot_exists=slot_exists,
        schemas=frozenset(name for (name,) in await rows("SELECT nspname::text FROM pg_namespace")),
        observed=observed,
        rights={
            oid: Rights(*values)
            for oid, *values in await rows(
                "SELECT c.oid::int8, has_table_privilege(c.oid, 'SELECT'), has_schema_privilege(c.relnamespace, 'USAGE'),"
                " pg_has_role(c.relowner, 'USAGE'), pg_get_userbyid(c.relowner)::text, row_security_active(c.oid),"
                " (SELECT rolsuper FROM pg_roles WHERE oid = c.relowner)"
                " FROM pg_class c WHERE c.oid = ANY(%s::oid[])",
                [table.oid for table in observed.catalog.tables],
            )
        },
        publications=(await read_publication(session, names[0]), await read_publication(session, names[1])),
        triggers=triggers,
        sealed=sealed,
        key_readers=await others_with_keys(session),
        installation=await plan_installation(session),
        candidates=await candidates(session),
        restricts_views=await restricts_views(session),
        sequences=[(schema, name) for schema, name, _ in sequences],
        hidden_sequences=[(schema, name) for schema, name, readable in sequences if not readable],
        row_security=frozenset(oid for (oid,) in await rows("SELECT oid::int8 FROM pg_class WHERE relrowsecurity")),
        hidden_schemas=[
            schema
            for (schema,) in await rows(
                "SELECT n.nspname FROM pg_namespace n WHERE n.nspname !~ '^pg_' AND NOT has_schema_privilege(n.oid, 'USAGE')"
                " AND EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind = 'S') ORDER BY 1"
            )
            if scope.covers_schema(schema)
        ],
        foreign_tables=[
            f"{schema}.{name}"
            for schema, name in await rows(
                "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE c.relkind = 'f' ORDER BY 1, 2"
            )
            if scope.covers(schema, name)
        ],
        extension_tables=[
            f"{name} ({extension})"
            for name, extension in await rows(
                "SELECT c.oid::regclass::text, e.extname FROM pg_extension e CROSS JOIN unnest(e.extconfig) x (oid)"
                " JOIN pg_class c ON c.oid = x.oid WHERE c.relkind = 'r' ORDER BY 1"
            )
        ],
        large_objects=bool(await rows("SELECT 1 FROM pg_largeobject_metadata LIMIT 1")),
        toasted=dict(
            await rows(
                "SELECT c.oid::int8, pg_relation_size(c.reltoastrelid) FROM pg_class c WHERE c.oid = ANY(%s::oid[])"
                " AND c.reltoastrelid <> 0 AND pg_relation_size(c.reltoastrelid) > 0",
                [table.oid for table in observed.catalog.tables if table.mode == "full"],
            )
        ),
        prepared=[row[0] for row in await rows("SELECT gid FROM pg_prepared_xacts WHERE database = current_database() ORDER BY prepared")],
        before=scope.redaction.before,
        writes=await count_writes(session, observed.catalog),
        breaking=breaking,
    )
