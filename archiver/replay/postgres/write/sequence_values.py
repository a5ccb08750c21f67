"""Values that sequences get: never one that was handed out before the point. SQL text only.

Sequences are not in the stream, they are read now and then. A value is exact where nothing was committed between the last reading and the
point, or where the readings before and after the point say the same. Otherwise it is raised to the greatest that its column holds, and to
that of the first reading after the point, where there is one: numbers may be skipped, never repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from psycopg import sql

from archiver.postgres.connecting import OWN_PATH
from archiver.postgres.lsn import parse_lsn
from archiver.postgres.records import Column, Schema, Sequences, SequenceValue, Table


def setting(
    schema: Schema, before: Sequences | None, after: Sequences | None, point: int, owners: Mapping[int, str] = MappingProxyType({})
) -> Iterator[sql.Composed]:
    """A statement for each sequence that was ever used, to be run when all rows are there. It does nothing for one that does not exist.

    ``point``: LSN where the last transaction of the state ends. ``owners``: roles as which tables (oids) are to be read, because reading
    them calls code of users; of others it is whoever sets the sequences.
    """
    later = {value.oid: value for value in after.values} if after else {}
    earlier = {value.oid: value for value in before.values} if before else {}
    tables = {table.oid: table for table in schema.catalog.tables}
    quiet = before is not None and parse_lsn(before.lsn) >= point
    for oid in sorted({**later, **earlier}):
        old, new = earlier.get(oid), later.get(oid)
        readings = [reading for reading in (old, new) if reading is not None]
        if old is not None and (quiet or (new is not None and _says(new) == _says(old))):
            statement = _statement([old], None) if old.next_value is None else _restart(readings, old.next_value)
        else:
            statement = _statement(readings, _owner(readings[0], tables), owners.get(readings[0].owner_oid, ""))
        if statement is not None:
            yield statement


def _says(value: SequenceValue) -> tuple[int | None, int | None]:
    return value.last_value, value.next_value


def _last(value: SequenceValue) -> int | None:
    """What it handed out last, or would have before what it gives next."""
    return value.last_value if value.next_value is None else value.next_value - value.increment


def _owner(value: SequenceValue, tables: dict[int, Table]) -> tuple[Table, Column] | None:
    table = tables.get(value.owner_oid)
    column = next((column for column in table.columns if column.attnum == value.owner_attnum), None) if table else None
    return (table, column) if table and column else None


def _statement(readings: list[SequenceValue], owner: tuple[Table, Column] | None, read_as: str = "") -> sql.Composed | None:
    down = readings[0].increment < 0
    made, gone = sql.Composed([]), sql.Composed([])
    known = [sql.SQL("{}::numeric").format(sql.Literal(last)) for each in readings if (last := _last(each)) is not None]
    if owner is not None:
        table, column = owner
        # A column can hold numbers that never came from the sequence; one at its very end would exhaust it.
        bound = sql.SQL("$1" if read_as else "s.seqmin" if down else "s.seqmax")
        found = sql.SQL("(SELECT pg_catalog.{}({})::numeric FROM {} WHERE {} {} {})").format(
            sql.SQL("min" if down else "max"),
            sql.Identifier(column.name),
            sql.Identifier(table.schema, table.name),
            sql.Identifier(column.name),
            sql.SQL(">" if down else "<"),
            bound,
        )
        if read_as:
            made, gone = _reading_as(read_as, found)
            found = sql.SQL("pg_temp.archiver_end({})").format(sql.SQL("s.seqmin" if down else "s.seqmax"))
        known.append(found)
    if not known:
        return None
    # Before its first value there is none that could be set as handed out.
    statement = sql.SQL(
        "SELECT CASE WHEN v.value {below} s.{first} THEN pg_catalog.setval(s.seqrelid::regclass,"
        " {pick}(v.value + s.seqincrement, s.{first})::bigint, false)"
        " ELSE pg_catalog.setval(s.seqrelid::regclass, {other}(v.value, s.{end})::bigint, true) END"
        " FROM pg_catalog.pg_sequence s, LATERAL (SELECT {pick}({known}) AS value) v WHERE s.seqrelid = {found} AND v.value IS NOT NULL"
    ).format(
        below=sql.SQL(">" if down else "<"),
        first=sql.Identifier("seqmax" if down else "seqmin"),
        end=sql.Identifier("seqmin" if down else "seqmax"),
        pick=sql.SQL("least" if down else "greatest"),
        other=sql.SQL("greatest" if down else "least"),
        known=sql.SQL(", ").join(known),
        found=_found(readings),
    )
    return made + statement + gone


def _reading_as(role: str, found: sql.Composed) -> tuple[sql.Composed, sql.Composed]:
    """What makes a function of ``role`` that reads the column, and what removes it. Under SET ROLE what runs could go back."""
    body = sql.SQL("BEGIN RETURN {}; END").format(found).as_string(None)
    made = sql.SQL(
        "CREATE FUNCTION pg_temp.archiver_end(bigint) RETURNS numeric LANGUAGE plpgsql SECURITY DEFINER AS {};"
        " ALTER FUNCTION pg_temp.archiver_end(bigint) OWNER TO {}; "
    ).format(sql.Literal(body), sql.Identifier(role))
    # What ran may have set another path, for good.
    gone = sql.SQL("; DROP FUNCTION pg_temp.archiver_end(bigint); SELECT pg_catalog.set_config('search_path', {}, false)")
    return made, gone.format(sql.Literal(OWN_PATH))


def _restart(readings: list[SequenceValue], following: int) -> sql.Composed:
    return sql.SQL("SELECT pg_catalog.setval(s.seqrelid::regclass, {}, false) FROM pg_catalog.pg_sequence s WHERE s.seqrelid = {}").format(
        sql.Literal(following), _found(readings)
    )


def _found(readings: list[SequenceValue]) -> sql.Composed:
    """The sequence: it may have been renamed between a reading and the point."""
    names = {sql.Identifier(each.schema, each.name).as_string(None): None for each in readings}
    found = sql.SQL(", ").join(sql.SQL("pg_catalog.to_regclass({})").format(sql.Literal(name)) for name in names)
    return sql.SQL("coalesce({})").format(found)
