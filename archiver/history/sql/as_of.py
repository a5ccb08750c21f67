"""What a question names, as of a point, put into the engine: rows as a restore would bring them back, objects as they were last known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pyarrow as pa

from archiver.clock import to_text
from archiver.errors import Invalid
from archiver.history.sql.column_types import TEXT, column_type
from archiver.history.sql.named_tables import KnownTable, chosen, parts_of
from archiver.kubernetes.stream_name import StreamName
from archiver.lake.json_text import as_text, column
from archiver.lake.row_records import unescaped
from archiver.replay.kubernetes.fold import read_streams
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.replay.postgres.columnar.copy_text import split_columns
from archiver.replay.postgres.plan.excerpt_plan import approximations_of, concerns
from archiver.replay.postgres.plan.planner import plan_restore
from archiver.replay.postgres.write.plan_records import fold_changes, gather
from archiver.replay.postgres.write.table_rows import rows_of
from archiver.suggestions import meant

if TYPE_CHECKING:
    from archiver.history.sql.engine import Engine
    from archiver.journal.reader import Reader
    from archiver.postgres.records import Table
    from archiver.replay.points import Point
    from archiver.replay.postgres.plan.plan import RestorePlan
    from archiver.replay.postgres.write.plan_records import PlanRecords

_COLUMNS = ("namespace", "name", "uid", "resource_version", "received", "object")
_TYPES = (TEXT, TEXT, TEXT, TEXT, "TIMESTAMPTZ", "JSON")
_AT_ONCE = 1000


class AsOf(msgspec.Struct):
    """What is not certain of what was put in, for people."""

    gaps: list[str] = []
    notes: list[str] = []


async def put_in(engine: Engine, reader: Reader, point: Point, names: set[str], sources: Sequence[str]) -> AsOf:
    """Put the tables ``names`` of ``sources`` (empty: all) into ``engine`` as of ``point``, which is resolved.

    ``Invalid`` for a source, table or kind that there is not; errors as planning a restore has them.
    """
    known = await _known(reader, sources)
    kinds = _kinds(known)
    found = AsOf()
    plans: dict[str, _Planned] = {}
    tables = list(kinds)
    if not all(any(kind.is_named(parts_of(name)) for kind in kinds) for name in names):
        for source in [name for name in known if "/" not in name]:
            plans[source] = await _planned(reader, source, point)
            tables += _captured(source, plans[source])
    asked = chosen(names, tables)
    for source, (plan, records) in plans.items():
        mine = [each for each in asked if each.source == source]
        if mine:
            await _put_rows(engine, reader, plan, records, mine, found)
    for kind in [each for each in asked if each.long_name]:
        await _put_objects(engine, reader, kind, Cut.at(point), found)
    return found


async def all_tables(reader: Reader, point: Point, sources: Sequence[str]) -> list[KnownTable]:
    """What can be asked about at ``point``: tables by name, then kinds. ``sources`` and errors as of ``put_in``."""
    known = await _known(reader, sources)
    tables = [each for name in known if "/" not in name for each in _captured(name, await _planned(reader, name, point))]
    return [*sorted(tables), *_kinds(known)]


_Planned = tuple["RestorePlan", "PlanRecords"]


async def _known(reader: Reader, sources: Sequence[str]) -> list[str]:
    """Names in the journal of databases and streams of ``sources`` (empty: all)."""
    tail = await reader.tail()
    known = sorted(name for name in (tail.sources if tail else ()) if name)
    there = {name.partition("/")[0] for name in known}
    for name in sorted(set(sources) - there):
        raise Invalid(f"the archive has no source {name!r}", hint=f"{meant(name, there)}its sources: {', '.join(sorted(there))}")
    return [name for name in known if not sources or name.partition("/")[0] in sources]


def _kinds(known: Sequence[str]) -> list[KnownTable]:
    streams = [StreamName.parse(name) for name in known if "/" in name]
    return list(dict.fromkeys(KnownTable(each.source, "main", each.plural, f"{each.plural}.{each.group}") for each in streams))


async def _planned(reader: Reader, source: str, point: Point) -> _Planned:
    plan = await plan_restore(reader, source, point)
    return plan, await gather(plan, reader)


def _captured(source: str, planned: _Planned) -> list[KnownTable]:
    tables = planned[1].schema.catalog.tables
    return [KnownTable(source, table.schema, table.name) for table in tables if table.mode != "excluded"]


async def _put_rows(
    engine: Engine, reader: Reader, plan: RestorePlan, records: PlanRecords, asked: Sequence[KnownTable], found: AsOf
) -> None:
    catalog = {(table.schema, table.name): table for table in records.schema.catalog.tables}
    within = {each: _with_children(catalog[each.schema, each.name], records.schema.catalog.tables) for each in asked}
    read = [table for tables in within.values() for table in tables]
    oids, known = {table.oid for table in read}, {table.oid for table in records.schema.catalog.tables}
    found.gaps += [f"{plan.source}: {gap.text}" for gap in plan.gaps if concerns(gap, oids, known)]
    found.notes += [f"{plan.source}: {text}" for text in approximations_of(read, plan, records.schema.catalog)]
    fold, _ = await fold_changes(plan, records, reader)
    for each, tables in within.items():
        # A column that is hidden in one of them is none of the answer.
        hidden = {one.name for table in tables for one in table.columns if one.attnum in table.hidden}
        columns = [one for one in tables[0].carried if one.name not in hidden]
        titles = [one.name for one in columns]
        if not titles:
            raise Invalid(f"{each.schema}.{each.name} has no columns at this point", hint="leave it out")
        with engine.table(each, titles, [column_type(one.type) for one in columns]) as filling:
            for table in tables:
                if table.kind != "p":
                    rows = rows_of(fold, table, reader.store, plan.checkpoint.key)
                    names = [one.name for one in rows.columns]
                    async for piece in rows.read():
                        parsed = unescaped(split_columns(np.frombuffer(piece, np.uint8), len(names)))
                        filling.add(pa.table({name: as_text(column(parsed, place)) for place, name in enumerate(names)}).select(titles))
        found.notes += [f"{each.schema}.{each.name}.{name}: it has values that DuckDB's type has not, and is text" for name in filling.left]


def _with_children(table: Table, tables: Sequence[Table]) -> list[Table]:
    """It, and what is a partition of it or inherits from it."""
    return [table, *(found for each in tables if each.parent == table.oid for found in _with_children(each, tables))]


def _text(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


async def _put_objects(engine: Engine, reader: Reader, kind: KnownTable, cut: Cut, found: AsOf) -> None:
    plural, _, group = kind.long_name.partition(".")
    folds = await read_streams(reader, kind.source, cut, lambda name: (name.plural, name.group) == (plural, group))
    found.gaps += [f"{fold.name}: {gap}" for fold in folds for gap in fold.gaps]
    found.notes += [f"{fold.name}: {note}" for fold in folds for note in fold.notes]
    objects = {key: seen for fold in sorted(folds, key=lambda fold: fold.observed) for key, seen in fold.state.objects.items()}
    lines = [(*key, seen.uid, seen.resource_version, to_text(seen.observed), _text(seen.body)) for key, seen in sorted(objects.items())]
    if unread := [f"{line[0]}/{line[1]}" for line in lines if line[-1] is None]:
        found.gaps.append(f"{kind.source}: {len(unread)} objects of {kind.long_name} are no UTF-8 and NULL here, first {unread[0]}")
    with engine.table(kind, _COLUMNS, _TYPES) as filling:
        for at in range(0, len(lines), _AT_ONCE):
            part = lines[at : at + _AT_ONCE]
            filling.add(pa.table({title: pa.array([line[place] for line in part], pa.string()) for place, title in enumerate(_COLUMNS)}))
