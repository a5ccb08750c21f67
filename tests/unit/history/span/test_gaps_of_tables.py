"""A gap of one table is told to whoever may be asking about that table, by whatever name it had, and to nobody else."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
import pytest

from archiver.history.span.bounds import EVERYTHING
from archiver.history.span.database_changes import DatabaseBeginning, DatabaseChanges
from archiver.history.span.known_values import KnownValues
from archiver.history.span.selection import Selection
from archiver.journal.entry import Kind
from archiver.journal.records import Gap
from archiver.postgres.records import Catalog, Column, Schema, Table
from tests.unit.replay.postgres import wire
from tests.unit.replay.postgres.world import World

OID = 5


def a_table(name: str, *, oid: int = OID, key: str = "id", parent: int = 0) -> Table:
    return Table(oid, "public", name, "r", "p", "d", oid, "key", [Column(1, key, "text", 25)], [1], parent=parent)


EVENTS = a_table("events", oid=1)
PART = a_table("events_1", parent=1)
Step = Sequence[Table] | str
"""A catalog, or a name under which the stream describes the table."""


def asked(name: str, steps: Sequence[Step], **chosen: Any) -> tuple[int, int]:
    """Lines that tell of a gap of the table with which its capture began as ``name``, before ``steps``; and how many count at the end."""
    world = World(Random(1), first_xid=1000)
    schema = Schema("0/1", "1:1:", 0, "ddl", 180000, "", Catalog([a_table("other", oid=9)]))
    put_schema(world, schema)
    world.put(Kind.GAP, [msgspec.json.encode(Gap(f"table public.{name}", "table_added", relation=OID))])
    for number, step in enumerate(steps, 1):
        if isinstance(step, str):
            described = wire.relation(OID, step, "d", [("id", 25, True)])
            lsn = 1000 * number
            world.send([wire.begin(1000 + number, lsn, number), described, wire.insert(OID, [b"1"]), wire.commit(lsn, lsn + 8, number)])
        else:
            put_schema(world, msgspec.structs.replace(schema, catalog=Catalog([a_table("other", oid=9), *step])))
    selection = Selection(**chosen)
    changes = DatabaseChanges("db", DatabaseBeginning(), KnownValues(), wanted=selection.table, keyed=selection.row_of)
    told = [each for placed in world.placed for each in changes.feed(placed)] + list(changes.flush())
    assert [each.order for each in told] == sorted(each.order for each in told)
    return sum(each.change.operation == "gap" for each in told), len(changes.doubts(EVERYTHING))


def put_schema(world: World, schema: Schema) -> None:
    world.put(Kind.PG_SCHEMA, [msgspec.json.encode(schema), b""])


@pytest.mark.parametrize(
    ("table", "name", "steps"),
    [
        ("runs", "runs", [[a_table("runs")]]),
        ("runs", "runs", [[a_table("old_runs")]]),
        ("runs", "runs", [[a_table("runs")], [a_table("old_runs")], []]),
        ("runs", "runs_new", [[a_table("runs_new")], [a_table("runs")], []]),
        ("b", "a", [[a_table("a")], [a_table("b")], [a_table("c")]]),
        ("b", "a", [[a_table("a")], "b", [a_table("c")]]),
        ("events", "events_1", [[EVENTS, PART], [EVENTS]]),
        ("events", "events_1", [[EVENTS, PART], [EVENTS, a_table("events_1")]]),
        ("events", "events_1", [[EVENTS, a_table("events_1")], [EVENTS, PART], [EVENTS]]),
    ],
    ids=["as it is", "renamed at once", "renamed and dropped", "swapped in and dropped", "renamed twice", "renamed between two looks",
         "a partition that is dropped", "a partition that is detached", "attached and dropped"],
)  # fmt: skip
def test_a_gap_of_what_is_asked_for(table: str, name: str, steps: Sequence[Step]) -> None:
    """Counts, and has its line, whichever of its table's names is asked for, and whatever became of that table."""
    lines, counted = asked(name, steps, tables=frozenset({f"public.{table}"}))
    assert counted == 1
    assert lines == 1


def test_a_gap_of_another_table() -> None:
    """Is none, and is not told; where no schema ever had its table it may be of any, and counts."""
    other = frozenset({"public.other"})
    assert asked("runs", [[a_table("runs")], "runs", [a_table("b")], []], tables=other) == (0, 0)
    assert asked("events_1", [[EVENTS, PART], [EVENTS]], tables=other) == (0, 0)
    assert asked("runs", [], tables=other)[1] == 1


def test_a_key_that_is_called_otherwise_for_a_while() -> None:
    """A pattern for the name that it had between counts the gap; one for a name that it never had does not."""
    keys = frozenset({"code=*"})
    assert asked("runs", [[a_table("runs")], [a_table("runs", key="code")], [a_table("runs", key="nr")]], keys=keys)[1] == 1
    assert asked("runs", [[a_table("runs")], [a_table("runs", key="nr")]], keys=keys)[1] == 0
