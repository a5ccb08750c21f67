"""What could go wrong with capture of this database, looked at before anything is touched. Also behind ``archiver check``.

A refusal names what would harm the source or leave a silent hole. Once the slot exists, what concerns single tables is only warned of:
stopping then would make the source keep its log for us, and the journal records the gap of such a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from archiver.capture.postgres.catalog.own_objects import KEY, choose_schema
from archiver.capture.postgres.catalog.publication import plan_members, why_unusable
from archiver.capture.postgres.catalog.redaction import Redaction
from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.preflight.facts import Facts, gather_facts
from archiver.capture.postgres.preflight.failover import failover_findings, slot_gets_failover
from archiver.capture.postgres.preflight.findings import SHOWN, Finding, and_others, grouped, several
from archiver.capture.postgres.preflight.least_rights import least_rights
from archiver.capture.postgres.preflight.selectors import UNMATCHED, unmatched_redaction, unmatched_selectors
from archiver.capture.postgres.preflight.tables import table_findings
from archiver.capture.postgres.session.access import Session
from archiver.capture.postgres.session.failover import commits_wait_for
from archiver.errors import Refused
from archiver.postgres.pasteable import identifier, statement
from archiver.postgres.records import Catalog

__all__ = ["Finding", "Preflight", "judge", "preflight"]

OLDEST, NEWEST = 15, 18
"""Major versions that capture is tested with."""


@dataclass(frozen=True)
class Preflight:
    """What a source may expect. ``catalog`` carries the capture mode of each table."""

    server_version: int
    database: str
    role: str
    superuser: bool
    catalog: Catalog
    ddl: Literal["trigger", "poll"]
    """How schema changes will be noticed."""
    refusals: list[Finding]
    warnings: list[Finding]
    notes: list[Finding]
    writes: dict[int, int]
    """Insert-only tables to the updates and deletes counted before anything was copied: ``take_baseline`` keeps them."""
    failover: bool = False
    """The slot is to be one that standbys may keep."""
    least_rights: Sequence[str] = ()
    """Lines of SQL that give a role all that capture needs."""

    @property
    def unmatched(self) -> list[str]:
        """Lines of the settings that match nothing."""
        return [finding.about for finding in (*self.warnings, *self.refusals) if finding.code == UNMATCHED]

    def told(self, *, slot_made: bool) -> list[str]:
        """The warnings for people. ``slot_made``: the slot was made since."""
        return [f"{finding.about}: {finding.reason}" for finding in self.warnings if not (slot_made and finding.until_slot)]

    def raise_refusals(self) -> None:
        """Raise ``Refused`` with every refusal and its remedy; nothing when there is none."""
        if self.refusals:
            raise Refused(
                "; ".join(f"{finding.about}: {finding.reason}" for finding in self.refusals),
                hint="; ".join(dict.fromkeys(finding.remedy for finding in self.refusals if finding.remedy)),
            )


async def preflight(session: Session, config: PostgresConfig, redaction: Redaction | None = None) -> Preflight:
    """Look at server, role, tables and publications over an ordinary session; changes nothing. ``redaction``: with what it hides already.

    Raises ``Unavailable`` or ``Refused`` only when it cannot even look.
    """
    return judge(await gather_facts(session, config, redaction), config)


def judge(facts: Facts, config: PostgresConfig) -> Preflight:
    """Facts to findings; pure."""
    tables = list(table_findings(facts))
    findings = [
        *_server(facts, config),
        *failover_findings(facts, config),
        *_slots(facts, config),
        *_role(facts, config),
        *_announcements(facts, config),
        *_own_schemas(facts),
        *_publications(facts, config),
        *tables,
        *unmatched_selectors(facts.schemas, facts.observed.catalog, config),
        *unmatched_redaction(facts.observed.catalog, config, before=facts.before),
        *_database(facts, config),
    ]
    return Preflight(
        facts.version,
        facts.database,
        facts.role,
        facts.superuser,
        facts.observed.catalog,
        "trigger" if _can_trigger(facts, config) else "poll",
        [finding for finding in findings if finding.level == "refused"],
        [finding for finding in findings if finding.level == "warning"],
        [finding for finding in findings if finding.level == "note"],
        facts.writes,
        slot_gets_failover(facts, config),
        least_rights(facts, config),
    )


def _can_trigger(facts: Facts, config: PostgresConfig) -> bool:
    return config.ddl != "poll" and (facts.triggers != "none" or (facts.superuser and bool(choose_schema(facts.candidates))))


def _server(facts: Facts, config: PostgresConfig) -> Iterator[Finding]:
    major = facts.version // 10000
    if major < OLDEST:
        yield Finding("version", "server", f"version {major} is older than {OLDEST}", f"upgrade the server to {OLDEST} or newer")
    elif major > NEWEST:
        yield Finding("version_new", "server", f"capture is tested up to version {NEWEST}, this is {major}", "", "warning")
    if not facts.restricts_views:
        yield Finding(
            "unpatched",
            "server",
            "it lacks restrict_nonsystem_relation_kind (CVE-2024-7348): so that nobody's view is read in the place of something else, large"
            " tables are copied in one piece, and where a sequence begins that was reset and not used since is not read",
            "update the server to its newest minor release (15.8, 16.4 or newer)",
            "warning",
        )
    if facts.recovery:
        yield Finding("recovery", "server", "it is a standby; publications cannot be made here", "give the address of the primary")
    if facts.settings.get("wal_level") != "logical":
        yield Finding(
            "wal_level", "server", f"wal_level is {facts.settings.get('wal_level')}", "set wal_level = logical and restart the server"
        )
    if facts.settings.get("server_encoding") == "SQL_ASCII":
        yield Finding(
            "encoding",
            "database",
            "its encoding is SQL_ASCII: text may be of any encoding, and a restore takes it back only into a database like it",
            "restore into a database of encoding SQL_ASCII",
            "warning",
        )
    if int(facts.settings.get("idle_replication_slot_timeout", "0")) > 0:
        yield Finding(
            "idle_slot_timeout",
            "server",
            "idle_replication_slot_timeout is set: the server gives the slot up when the archiver is away for that long",
            "set idle_replication_slot_timeout = 0, or keep the archiver from being away for so long",
            "warning",
        )
    named = facts.settings.get("synchronous_standby_names", "")
    if commits_wait_for(config.slot, named):
        yield Finding(
            "synchronous",
            "server",
            f"synchronous_standby_names is {named}: commits wait until this archive has them",
            "name a second standby (FIRST 1 (…, …)) so that commits go on while the archiver is away",
            "note" if config.synchronous else "warning",
        )
    elif config.synchronous:
        yield Finding(
            "not_synchronous",
            "server",
            f"synchronous is on, but synchronous_standby_names ({named or 'empty'}) does not name {config.slot}: commits do not wait",
            f"add {config.slot} to synchronous_standby_names",
            "warning",
        )


def _slots(facts: Facts, config: PostgresConfig) -> Iterator[Finding]:
    cap = int(facts.settings.get("max_slot_wal_keep_size", "-1"))
    if cap < 0:
        yield Finding(
            "unlimited_wal",
            "server",
            "max_slot_wal_keep_size is -1: while the archiver is stopped, its slot keeps all WAL until the disk is full",
            "set max_slot_wal_keep_size to what the disk can spare (for example 10GB), or set allow_unlimited_wal",
            "warning" if config.allow_unlimited_wal else "refused",
        )
    if not facts.slot_exists:
        limit = int(facts.settings.get("max_replication_slots", "0"))
        if facts.slots >= limit:
            yield Finding(
                "slots", "server", f"all {limit} replication slots are in use", "raise max_replication_slots, or drop slots nobody uses"
            )
        senders = int(facts.settings.get("max_wal_senders", "0"))
        if facts.senders >= senders:
            yield Finding("walsenders", "server", f"all {senders} walsenders are in use", "raise max_wal_senders")
        if facts.prepared:
            yield Finding(
                "prepared",
                "database",
                f"{several('prepared transaction', facts.prepared)} open: creating the slot waits for the end of each",
                "COMMIT PREPARED or ROLLBACK PREPARED them",
                "warning",
                until_slot=True,
            )


def _role(facts: Facts, config: PostgresConfig) -> Iterator[Finding]:
    about = f"role {facts.role}"
    if not facts.replication:
        yield Finding("replication", about, "it lacks the REPLICATION attribute", f"ALTER ROLE {identifier(facts.role)} REPLICATION")
    if not _can_trigger(facts, config) and config.ddl != "poll":
        yield Finding(
            "no_trigger",
            about,
            ("every schema that could hold them is somebody else's" if facts.superuser else "only a superuser may create event triggers")
            + f": schema changes are noticed by polling the catalog, up to {config.poll_seconds:g} s late,"
            " and points in between are gaps of the schema (schema_uncertain)",
            "a superuser runs the statements at the end of `archiver check`, or accept it with ddl: poll",
            "refused" if config.ddl == "trigger" else "warning",
        )


def _announcements(facts: Facts, config: PostgresConfig) -> Iterator[Finding]:
    """Whether a change that was announced and not looked at will be known to have happened."""
    if config.ddl == "poll" or facts.triggers == "none" or facts.sealed:
        return
    doubt = "anybody could have sent what they announce, so a change that no look at the catalog follows is only a doubt of a restore"
    remedy = "a superuser runs the statements at the end of `archiver check`"
    if facts.superuser:
        remedy += ", or the archiver does at its next start"
    if facts.triggers == "older":
        yield Finding("old_trigger", "event triggers", f"they are of another version of the archiver: {doubt}", remedy, "warning")
    elif facts.installation.statements:
        reason = f"the keys of their announcements are not there, as in a database made from a dump: {doubt}"
        yield Finding("no_keys", "event triggers", reason, remedy, "warning")
    elif facts.key_readers:
        named = ", ".join(facts.key_readers)
        reason = f"{named} may read the keys of their announcements, and announce as they do: {doubt}"
        key = identifier(choose_schema(facts.candidates), KEY)
        whom = ", ".join(name if name == "PUBLIC" else identifier(name) for name in facts.key_readers)
        yield Finding("keys_shared", "event triggers", reason, f"REVOKE ALL ON {key} FROM {whom}", "warning")
    else:
        reason = f"it may not read the keys of the event triggers' announcements: {doubt}"
        yield Finding("unsealed", f"role {facts.role}", reason, remedy, "warning")


def _own_schemas(facts: Facts) -> Iterator[Finding]:
    for candidate in facts.candidates.values():
        if candidate.usable:
            continue
        mimics = ", with a function that looks like the archiver's"
        forged = candidate.function and not candidate.trusted
        yield Finding(
            "own_schema",
            f"schema {candidate.name}",
            f"it belongs to {candidate.owner}{mimics if forged else ''}: it is refused as a place"
            " for the archiver's function, and captured like any other",
            "find out who made it, and why" if forged else "",
            "warning" if forged else "note",
        )


def _publications(facts: Facts, config: PostgresConfig) -> Iterator[Finding]:
    names = config.publications
    role = identifier(facts.role)
    for name, publication, whole in zip(names, facts.publications, (True, False), strict=True):
        if publication and (why := why_unusable(publication, whole=whole)):
            yield Finding("publication", f"publication {name}", why, f"DROP PUBLICATION {identifier(name)}, or choose another slot name")
        if publication and publication.owned_below and facts.superuser:
            yield Finding(
                "publication_owner",
                f"publication {name}",
                f"{publication.owner} made it, who has fewer rights than {facts.role} and can take tables out of it",
                f"ALTER PUBLICATION {identifier(name)} OWNER TO {role}, if it was made for the archiver; else choose another slot name",
                "warning" if facts.slot_exists else "refused",
            )
    change = plan_members(names, facts.publications, facts.observed.catalog)
    if not change.statements:
        return
    missing = [name for name, publication in zip(names, facts.publications, strict=True) if publication is None]
    if missing and not facts.create:
        yield Finding(
            "create",
            f"role {facts.role}",
            f"it may not create the publications {', '.join(missing)}: CREATE on the database is missing",
            f"GRANT CREATE ON DATABASE {identifier(facts.database)} TO {role}, or let a superuser run: {_statements(change.statements)}",
        )
    for name, publication in zip(names, facts.publications, strict=True):
        if publication and not publication.owned and not facts.superuser:
            yield Finding(
                "publication_owner",
                f"publication {name}",
                "it needs other members and belongs to another role",
                f"let its owner run: {_statements(change.statements)}",
                "warning" if facts.slot_exists else "refused",
            )
            return
    joining = change.effect.added | change.effect.moved | change.effect.relisted
    strange = [
        table
        for table in facts.observed.catalog.tables
        if table.oid in joining and (rights := facts.rights.get(table.oid)) is not None and not rights.owner
    ]
    if strange and not facts.superuser:
        # Whoever is a member of a superuser is one.
        owners = sorted({facts.rights[table.oid].owner_name for table in strange if not facts.rights[table.oid].owner_superuser})
        by_superuser = f"let a superuser run: {_statements(change.statements)}"
        yield Finding(
            "owner",
            several("table", [f"{table.schema}.{table.name}" for table in strange]),
            "only their owner may publish them",
            "; ".join([*(f"GRANT {identifier(owner)} TO {role}" for owner in owners), f"or {by_superuser}" if owners else by_superuser]),
            "warning" if facts.slot_exists else "refused",
        )


def _statements(statements: list[sql.Composed]) -> str:
    text = "; ".join(statement(each.as_string(None)) for each in statements)
    # Never a part of one: an open quote would take in whatever is pasted next.
    return text if len(text) <= 600 else "the last of the statements below"


def _database(facts: Facts, config: PostgresConfig) -> Iterator[Finding]:
    if facts.hidden_sequences:
        yield Finding(
            "sequence_rights",
            several("sequence", [f"{schema}.{name}" for schema, name in facts.hidden_sequences]),
            "their values cannot be read, and a restore would hand them out again",
            f"GRANT SELECT ON SEQUENCE {', '.join(identifier(*names) for names in facts.hidden_sequences[:SHOWN])}"
            f" TO {identifier(facts.role)}{and_others(facts.hidden_sequences)}",
            "warning" if facts.slot_exists else "refused",
        )
    if facts.large_objects:
        yield Finding(
            "large_objects",
            "database",
            "it holds large objects, which logical replication does not carry",
            "keep them in a physical backup",
            "warning",
        )
    if facts.foreign_tables:
        yield Finding(
            "foreign_tables",
            several("foreign table", facts.foreign_tables),
            "rows of foreign tables live elsewhere and are not captured",
            "",
            "note",
        )
    if facts.extension_tables:
        yield Finding(
            "extension_tables",
            several("table", facts.extension_tables),
            "rows that an extension keeps for the user are not captured",
            "keep them in a physical backup",
            "warning",
        )
    for schema, names in grouped((each.schema, each.name) for each in facts.observed.catalog.outside):
        yield Finding(
            "outside",
            f"schema {schema}",
            f"it is not captured, and what is captured needs {several('object', names)} of it: a restore lacks what needs them",
            f"add {schema} to `schemas`, or have it in every target before a restore",
            "warning",
        )
    for publication, tables in facts.breaking.items():
        yield Finding(
            "already_broken",
            f"publication {publication}",
            f"UPDATE and DELETE fail already on {several('table', tables)}: it publishes them without a usable replica identity",
            "not ours to change: give the tables a primary key, or take them out of that publication",
            "warning",
        )
    if any(table.mode != "excluded" for table in facts.observed.catalog.tables):
        yield Finding(
            "set_unlogged",
            "database",
            "the server refuses ALTER TABLE … SET UNLOGGED for members of a publication",
            f"in the same transaction first: ALTER PUBLICATION {identifier(config.publications[0])} DROP TABLE …",
            "note",
        )
