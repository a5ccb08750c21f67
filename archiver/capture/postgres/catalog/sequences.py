"""Values of sequences as they are now, read without standing in the way of a migration.

The server locks a sequence for whoever reads it until the transaction ends. So a few are read in a transaction of their own, and none is
waited for as long as ``deadlock_timeout``: a migration that wants two of them never loses against this.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import psycopg
from psycopg import sql

from archiver.capture.postgres.catalog.catalog import OURS
from archiver.capture.postgres.catalog.scope import Scope
from archiver.capture.postgres.session.access import Session, restricts_views, translated
from archiver.postgres.records import Sequences, SequenceValue

_AT_ONCE = 200
"""Sequences in one transaction."""
_LOCK_MILLISECONDS = 250
_ATTEMPTS = 3
_GONE = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.InternalError_,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.ObjectNotInPrerequisiteState,
)
"""What the server says when something was dropped or renamed since it was listed: by name; by oid; of what has the name now: a table, or a
view, which is restricted."""
_BY_OID = 180000
"""Servers from here on tell everything of a sequence by its oid (``pg_get_sequence_data``)."""

_SEQUENCES = f"""
SELECT c.oid::int8, n.nspname, c.relname, s.seqincrement, coalesce(d.refobjid::int8, 0), coalesce(d.refobjsubid, 0), s.seqstart,
       has_sequence_privilege(c.oid, 'SELECT,USAGE'), has_sequence_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE')
  FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0
       AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
 WHERE {OURS}
 ORDER BY n.nspname, c.relname
"""


class _ListedSequence(msgspec.Struct, frozen=True, array_like=True):
    oid: int
    schema: str
    name: str
    increment: int
    owner_oid: int
    owner_attnum: int
    start: int
    last_known: bool
    """Whether the role may read what was handed out last."""
    whole: bool
    """Whether it may read all of it."""

    def value(self, last: int | None, following: int | None) -> SequenceValue:
        next_value = None if last is not None or following == self.start else following
        return SequenceValue(
            self.oid, self.schema, self.name, last, self.increment, self.owner_oid, self.owner_attnum, next_value=next_value
        )


async def read_sequences(session: Session, scope: Scope) -> Sequences:
    """All sequences with the position read before them: every value handed out before that position is covered."""
    try:
        cursor = await session.execute("SELECT pg_current_wal_insert_lsn()::text, (EXTRACT(epoch FROM clock_timestamp()) * 1000000)::int8")
        row = await cursor.fetchone()
    except psycopg.Error as error:
        raise translated(error, "reading sequences") from error
    assert row is not None
    return Sequences(row[0], row[1], await read_sequence_values(session, scope))


async def read_sequence_values(session: Session, scope: Scope) -> list[SequenceValue]:
    """Sequences in scope with their values of this moment (not of a snapshot: sequences know none). ``session`` is in no transaction.

    A value that the role may not read is None, as if never used: preflight refuses such sequences. Raises ``Unavailable`` when one stays
    locked.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return await _read(session, scope)
        except _GONE as error:
            if attempt == _ATTEMPTS:
                raise translated(error, "reading sequences") from error
        except psycopg.Error as error:
            raise translated(error, "reading sequences") from error
    return []


async def _read(session: Session, scope: Scope) -> list[SequenceValue]:
    rows = await (await session.execute(_SEQUENCES.encode())).fetchall()
    listed = [found for found in (msgspec.convert(row, _ListedSequence) for row in rows) if scope.covers_schema(found.schema)]
    values: list[SequenceValue] = []
    for first in range(0, len(listed), _AT_ONCE):
        some = listed[first : first + _AT_ONCE]
        async with session.transaction():
            await session.execute(f"SET LOCAL lock_timeout = {_LOCK_MILLISECONDS}".encode())
            last = await _last_values(session, [each.oid for each in some if each.last_known])
            unused = [each for each in some if each.whole and last.get(each.oid) is None]
            following = await _next_values(session, unused)
        values += [each.value(last.get(each.oid), following.get(each.oid)) for each in some]
    return values


async def _last_values(session: Session, oids: list[int]) -> dict[int, int | None]:
    cursor = await session.execute("SELECT o::int8, pg_sequence_last_value(o) FROM unnest(%s::oid[]) o", [oids])
    return dict(await cursor.fetchall())


async def _next_values(session: Session, listed: Sequence[_ListedSequence]) -> dict[int, int]:
    """Of sequences without a last value: only the sequence itself tells what it gives next after RESTART WITH or setval(…, false).

    Before 18 it is selected by name, which may by now be a view's. Where the server would run that view nothing is read, and preflight
    warns of it.
    """
    if not listed:
        return {}
    if session.info.server_version >= _BY_OID:
        cursor = await session.execute(
            "SELECT o::int8, d.last_value FROM unnest(%s::oid[]) o CROSS JOIN LATERAL pg_get_sequence_data(o) d WHERE NOT d.is_called",
            [[each.oid for each in listed]],
        )
        return dict(await cursor.fetchall())
    if not await restricts_views(session):
        return {}
    # The sequences are locked by now, but not the names of their schemas. Of a table that has such a name the planner would run code.
    names = [sql.Identifier(each.schema, each.name).as_string(None) for each in listed]
    cursor = await session.execute(
        "SELECT n.name FROM unnest(%s::text[], %s::oid[]) n (name, id) WHERE to_regclass(n.name) IS DISTINCT FROM n.id::regclass",
        [names, [each.oid for each in listed]],
    )
    if moved := await cursor.fetchone():
        raise psycopg.errors.UndefinedTable(f"{moved[0]} is another relation now")
    query = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {}::int8, last_value FROM {} WHERE NOT is_called").format(
            sql.Literal(each.oid), sql.Identifier(each.schema, each.name)
        )
        for each in listed
    )
    return dict(await (await session.execute(query)).fetchall())
