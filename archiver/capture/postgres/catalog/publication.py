"""Our two publications and who is in them. No table is ever published for UPDATE unless the server can identify its rows.

``<slot>_key`` publishes insert, update, delete and truncate; ``<slot>_insert`` insert and truncate, for tables whose UPDATE the server
would otherwise refuse. Members are named one by one: ``FOR ALL TABLES`` would take in the tables of a later migration and break it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import psycopg
from psycopg import sql

from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.session.access import Session, translated
from archiver.errors import Refused, Unavailable
from archiver.postgres.pasteable import identifier, statement
from archiver.postgres.records import Catalog, Table

_OPERATIONS = {True: "insert, update, delete, truncate", False: "insert, truncate"}
_TOGETHER_SECONDS = 0.5
"""All tables in one transaction: less than ``deadlock_timeout``, so that a migration that wants them in another order never loses."""
_ALONE_SECONDS = 5.0
"""One table in a transaction of its own, which can be part of no deadlock."""


@dataclass(frozen=True)
class MemberChanges:
    """What was changed, by table oid."""

    added: frozenset[int] = frozenset()
    """In neither publication before: changes until now are unknown to the stream."""
    moved: frozenset[int] = frozenset()
    """From one publication to the other."""
    removed: frozenset[int] = frozenset()
    relisted: frozenset[int] = frozenset()
    """Members of the same publication with another list of columns."""
    blocked: frozenset[int] = frozenset()
    """What could not be done now, because DDL or VACUUM held the table."""

    def __bool__(self) -> bool:
        return bool(self.added or self.moved or self.removed or self.relisted)


class Publication(NamedTuple):
    """One of ours as the server has it."""

    name: str
    all_tables: bool
    operations: frozenset[str]
    via_root: bool
    owned: bool
    """Whether the session's role may alter it."""
    owner: str
    owned_below: bool
    """Neither a superuser nor the session's own role owns it: its owner can alter it with fewer rights than ours."""
    narrowed: list[str]
    """Members with a row filter."""
    schemas: bool
    """Has whole schemas as members."""
    members: dict[int, str]
    """oid to quoted name."""
    lists: Mapping[int, frozenset[int]] = MappingProxyType({})
    """Members that are published with some columns only: their attnums."""


@dataclass(frozen=True)
class MembershipPlan:
    """Statements that bring the publications in line, and what they mean."""

    statements: list[sql.Composed]
    effect: MemberChanges


async def read_publication(session: Session, name: str) -> Publication | None:
    """The publication ``name``; None when there is none."""
    rows = await _rows(
        session,
        "SELECT oid, puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot, pg_has_role(pubowner, 'USAGE'),"
        " pg_get_userbyid(pubowner)::text,"
        " NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = pubowner AND (rolsuper OR rolname = current_user))"
        " FROM pg_publication WHERE pubname = %s",
        name,
    )
    if not rows:
        return None
    oid, all_tables, *published, via_root, owned, owner, owned_below = rows[0]
    operations = frozenset(word for word, on in zip(("insert", "update", "delete", "truncate"), published, strict=True) if on)
    members = await _rows(
        session,
        "SELECT r.prrelid::int8, n.nspname, c.relname, r.prqual IS NOT NULL, string_to_array(r.prattrs::text, ' ')::int[]"
        " FROM pg_publication_rel r"
        " JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE r.prpubid = %s",
        oid,
    )
    schemas = await _rows(session, "SELECT 1 FROM pg_publication_namespace WHERE pnpubid = %s LIMIT 1", oid)
    return Publication(
        name,
        all_tables,
        operations,
        via_root,
        owned,
        owner,
        owned_below,
        [f"{schema}.{table}" for _, schema, table, narrowed, _ in members if narrowed],
        bool(schemas),
        {member: sql.Identifier(schema, table).as_string(None) for member, schema, table, _, _ in members},
        {member: frozenset(attnums) for member, _, _, _, attnums in members if attnums is not None},
    )


def why_unusable(publication: Publication, *, whole: bool) -> str:
    """Why capture cannot use it although it exists; empty when it can. ``whole``: it is the one that publishes updates."""
    if publication.all_tables or publication.schemas:
        return "it publishes all tables or whole schemas, which makes UPDATE fail on every table without a replica identity, now or later"
    if publication.operations != frozenset(_OPERATIONS[whole].split(", ")):
        return f"it publishes {', '.join(sorted(publication.operations)) or 'nothing'} where capture needs {_OPERATIONS[whole]}"
    if publication.via_root:
        return "publish_via_partition_root is on: a TRUNCATE of one partition would be lost"
    if publication.narrowed:
        return f"it has row filters ({', '.join(publication.narrowed[:3])}): rows would be lost"
    return ""


def plan_members(names: tuple[str, str], current: tuple[Publication | None, Publication | None], catalog: Catalog) -> MembershipPlan:
    """The statements that make the members what the modes in ``catalog`` say. Members that the catalog does not have are removed."""
    wanted: tuple[dict[int, str], dict[int, str]] = ({}, {})
    lists = {table.oid: listed_columns(table) for table in catalog.tables if table.listed}
    relisted: set[int] = set()
    for table in catalog.tables:
        if table.mode != "excluded":
            wanted[table.mode == "insert"][table.oid] = sql.Identifier(table.schema, table.name).as_string(None)
    before = [publication.members if publication else {} for publication in current]
    statements: list[sql.Composed] = []
    # Leaving comes before joining: a table must never be published for UPDATE by one while it waits to join the other.
    for name, publication, members, now in zip(names, current, wanted, before, strict=True):
        # The server changes a list of columns only by the way of leaving and joining, which in one transaction miss nothing.
        other = {oid for oid in now.keys() & members.keys() if publication and publication.lists.get(oid) != _numbers(lists.get(oid))}
        relisted |= other
        gone = sorted(now[oid] for oid in (now.keys() - members.keys()) | other)
        if publication and gone:
            statements.append(sql.SQL("ALTER PUBLICATION {} DROP TABLE ONLY {}").format(sql.Identifier(name), _list(gone)))
    for whole, name, publication, members, now in zip((True, False), names, current, wanted, before, strict=True):
        joining = (members.keys() - now.keys()) | (relisted & members.keys())
        new = sorted(members[oid] + _columns(lists.get(oid)) for oid in joining)
        if publication is None:
            tables = sql.SQL(" FOR TABLE ONLY {}").format(_list(new)) if new else sql.SQL("")
            statements.append(
                sql.SQL("CREATE PUBLICATION {}{} WITH (publish = {})").format(sql.Identifier(name), tables, sql.Literal(_OPERATIONS[whole]))
            )
        elif new:
            statements.append(sql.SQL("ALTER PUBLICATION {} ADD TABLE ONLY {}").format(sql.Identifier(name), _list(new)))
    had, have = before[0].keys() | before[1].keys(), wanted[0].keys() | wanted[1].keys()
    moved = (wanted[0].keys() & before[1].keys()) | (wanted[1].keys() & before[0].keys())
    return MembershipPlan(statements, MemberChanges(frozenset(have - had), frozenset(moved), frozenset(had - have), frozenset(relisted)))


def listed_columns(table: Table) -> dict[int, str]:
    """Attnums and names of the columns that are published of a table with a list."""
    return {column.attnum: column.name for column in table.carried}


def _numbers(listed: dict[int, str] | None) -> frozenset[int] | None:
    return None if listed is None else frozenset(listed)


def _columns(listed: dict[int, str] | None) -> str:
    return "" if listed is None else sql.SQL(" ({})").format(sql.SQL(", ").join(map(sql.Identifier, listed.values()))).as_string(None)


async def reconcile_publications(
    session: Session, config: PostgresConfig, catalog: Catalog, *, partly: bool = False, journaled: frozenset[int] = frozenset()
) -> MemberChanges:
    """Create the two publications or bring their members in line with the modes in ``catalog``; one by one if a table is locked.

    Tables in ``journaled`` are members as far as the caller knows: one that is not is left out, because nothing would tell afterwards that
    it was none for a while; ``planned_changes`` shows it.
    Called before the slot is created, for a slot older than its publication fails for ever on 15, and again after each change.
    Raises ``Refused`` when rights are missing or a publication of that name is not ours to use; ``Unavailable`` when a table went away
    meanwhile or, without ``partly``, stayed locked.
    """
    names = config.publications
    try:
        current = (await read_publication(session, names[0]), await read_publication(session, names[1]))
        for publication, whole in zip(current, (True, False), strict=True):
            if publication and (why := why_unusable(publication, whole=whole)):
                raise Refused(
                    f"publication {publication.name} cannot be used: {why}",
                    hint=f"DROP PUBLICATION {identifier(publication.name)} so that the archiver makes its own, or set another slot name",
                )
        change = plan_members(names, current, catalog)
        if left := change.effect.added & journaled:
            catalog = msgspec.structs.replace(catalog, tables=[table for table in catalog.tables if table.oid not in left])
            change = plan_members(names, current, catalog)
        if not change.statements:
            return change.effect
        if strange := [publication.name for publication in current if publication and not publication.owned]:
            raise Refused(
                f"publication {', '.join(strange)} needs other members and belongs to another role",
                hint="let its owner run: " + "; ".join(statement(each.as_string(None)) for each in change.statements),
            )
        if await _apply(session, change.statements, _TOGETHER_SECONDS, names, catalog):
            return change.effect
        blocked = await _one_by_one(session, names, catalog, change.effect)
    except psycopg.errors.InsufficientPrivilege as error:
        raise Refused(
            f"changing the publications: {error.diag.message_primary}",
            hint="it takes ownership of each captured table (or membership in its owner) and CREATE on the database; see `archiver check`",
        ) from error
    except psycopg.Error as error:
        raise translated(error, "changing the publications") from error
    if blocked and not partly:
        raise Unavailable(
            f"{len(blocked)} tables stayed locked and could not be published", hint="VACUUM or DDL holds them; it is tried again"
        )
    effect = change.effect
    return MemberChanges(effect.added - blocked, effect.moved - blocked, effect.removed - blocked, effect.relisted - blocked, blocked)


class _RenamedMeanwhile(Exception):
    """A list of columns names others than were meant; nothing was done."""


async def _apply(session: Session, statements: list[sql.Composed], seconds: float, names: tuple[str, str], catalog: Catalog) -> bool:
    """Run them in one transaction; False when a lock was not to be had within ``seconds``, or ``catalog`` is not true any more."""
    try:
        async with session.transaction():
            await session.execute(f"SET LOCAL lock_timeout = {int(seconds * 1000)}".encode())
            for each in statements:
                await session.execute(each)
            await _see_lists(session, names, catalog)
    except (psycopg.errors.LockNotAvailable, psycopg.errors.UndefinedColumn, _RenamedMeanwhile):
        return False
    return True


async def _see_lists(session: Session, names: tuple[str, str], catalog: Catalog) -> None:
    """See that every list of columns has the numbers that were meant: a list is given by names, and a column can have been renamed."""
    wanted = {table.oid: frozenset(listed_columns(table)) for table in catalog.tables if table.listed}
    if not wanted:
        return
    rows = await _rows(
        session,
        "SELECT r.prrelid::int8, string_to_array(r.prattrs::text, ' ')::int[] FROM pg_publication_rel r"
        " JOIN pg_publication p ON p.oid = r.prpubid WHERE p.pubname = ANY(%s)",
        list(names),
    )
    if any(oid in wanted and frozenset(attnums or ()) != wanted[oid] for oid, attnums in rows):
        raise _RenamedMeanwhile


async def _one_by_one(session: Session, names: tuple[str, str], catalog: Catalog, effect: MemberChanges) -> frozenset[int]:
    """Every table in a transaction of its own; those that stayed locked."""
    current = [await read_publication(session, name) for name in names]
    if None in current:
        await _apply(session, plan_members(names, (current[0], current[1]), Catalog([])).statements, _ALONE_SECONDS, names, Catalog([]))
    blocked: set[int] = set()
    for oid in sorted(effect.added | effect.moved | effect.removed | effect.relisted):
        first, second = [await read_publication(session, name) for name in names]
        assert first is not None
        assert second is not None
        one = Catalog([table for table in catalog.tables if table.oid == oid])
        alone = plan_members(names, (_only(first, oid), _only(second, oid)), one)
        if not await _apply(session, alone.statements, _ALONE_SECONDS, names, one):
            blocked.add(oid)
    return frozenset(blocked)


def _only(publication: Publication, oid: int) -> Publication:
    return publication._replace(members={member: name for member, name in publication.members.items() if member == oid})


async def planned_changes(session: Session, config: PostgresConfig, catalog: Catalog) -> MemberChanges:
    """What ``reconcile_publications`` would change; changes nothing."""
    names = config.publications
    try:
        return plan_members(names, (await read_publication(session, names[0]), await read_publication(session, names[1])), catalog).effect
    except psycopg.Error as error:
        raise translated(error, "looking at the publications") from error


async def unpublishable(session: Session, config: PostgresConfig, catalog: Catalog) -> frozenset[int]:
    """Tables that belong into one of the publications, are not there, and may not be added by the session's role."""
    names = config.publications
    try:
        current = (await read_publication(session, names[0]), await read_publication(session, names[1]))
        change = plan_members(names, current, catalog)
        joining = change.effect.added | change.effect.moved | change.effect.relisted
        if not joining or all(publication and not publication.owned for publication in current):
            return joining
        rows = await _rows(
            session,
            "SELECT c.oid::int8 FROM pg_class c WHERE c.oid = ANY(%s::oid[]) AND NOT pg_has_role(c.relowner, 'USAGE')",
            sorted(joining),
        )
    except psycopg.Error as error:
        raise translated(error, "looking at the publications") from error
    return frozenset(oid for (oid,) in rows)


def _list(quoted: list[str]) -> sql.Composable:
    return sql.SQL(", ONLY ").join(sql.SQL(name) for name in quoted)


async def _rows(session: Session, query: str, value: Any) -> list[tuple[Any, ...]]:
    return await (await session.execute(query.encode(), [value])).fetchall()
