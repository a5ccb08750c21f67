"""What an excerpt is of, and which doubts of the database are its own."""

from __future__ import annotations

import pytest

from archiver.errors import Invalid
from archiver.postgres.records import Catalog, Column, Table
from archiver.replay.excerpt import Excerpt
from archiver.replay.postgres.plan.excerpt_plan import UNOWNED_SEQUENCES, excerpt_tables, narrowed
from archiver.replay.postgres.plan.plan import GapLine, Moment, Range, Ref, RestorePlan, SchemaLine, Start, TableLine
from archiver.replay.postgres.plan.table_coverage import inserts_only


def table(oid: int, name: str, kind: str = "r", parent: int = 0, mode: str = "key", schema: str = "public") -> Table:
    columns = [Column(1, "id", "integer", 23), Column(2, "v", "text", 25), Column(3, "g", "integer", 23, generated="s")]
    return Table(oid, schema, name, kind, "p", "d", oid, mode, columns, [1], parent)  # type: ignore[arg-type]


CATALOG = Catalog(
    [
        table(1, "one"),
        table(2, "two"),
        table(3, "root", kind="p", mode="excluded"),
        table(4, "leaf", parent=3),
        table(5, "sub", kind="p", parent=3, mode="excluded"),
        table(6, "deep", parent=5, schema="other"),
        table(7, "unlogged", mode="excluded"),
    ]
)


def chosen(*tables: str, schemas: tuple[str, ...] = (), rows: tuple[str, ...] = ()) -> list[tuple[str, list[str]]]:
    excerpt = Excerpt.parse(tables, schemas, rows, "", None)
    assert excerpt is not None
    return [(each.name, [holder.name for holder in each.holders]) for each in excerpt_tables(excerpt, CATALOG)]


def test_a_partition_comes_with_its_table() -> None:
    """Where that is asked for too; else by itself."""
    assert chosen("root") == [("public.root", ["leaf", "deep"])]
    assert chosen("leaf", "root") == [("public.root", ["leaf", "deep"])]
    assert chosen("leaf") == [("public.leaf", ["leaf"])]
    assert chosen(schemas=("other",)) == [("other.deep", ["deep"])]
    assert chosen(schemas=("public",)) == [("public.one", ["one"]), ("public.root", ["leaf", "deep"]), ("public.two", ["two"])]


@pytest.mark.parametrize(
    ("tables", "schemas", "rows", "words"),
    [
        (("none",), (), (), "no table public.none"),
        (("unlogged",), (), (), "not captured"),
        ((), ("none",), (), "no captured table in schema none"),
        (("one",), (), ("v=1",), "not of the key"),
        (("one", "two"), (), ("id=1",), "about one table"),
        ((), (), ("id=1",), "not said of which tables"),
    ],
)
def test_what_is_not_there(tables: tuple[str, ...], schemas: tuple[str, ...], rows: tuple[str, ...], words: str) -> None:
    """Said before anything is looked at."""
    with pytest.raises(Invalid, match=words):
        chosen(*tables, schemas=schemas, rows=rows)


def test_values_of_rows() -> None:
    """Several of one column are alternatives; a value may hold anything."""
    excerpt = Excerpt.parse(["one"], [], ["id=1", "id = 2 ", "v==x"], "", None)
    assert excerpt is not None
    assert excerpt.rows == {"id": ["1", "2"], "v": ["=x"]}


def test_only_its_own_doubts_stay() -> None:
    """A gap is told to be of a table by its oid, since its words may have an older name; what may be of any table stays."""
    gaps = [
        GapLine(1, "table public.older", "x", relation=1),
        GapLine(2, "table public.one", "x", relation=2),
        GapLine(3, "schema", "x"),
        GapLine(4, "table public.new", "not_in_catalog", relation=99),
    ]
    approximations = [f"{inserts_only(CATALOG.tables[place])}…" for place in (0, 1)] + [f"{UNOWNED_SEQUENCES}, …", "the schema: …"]
    lines = [TableLine(oid, "public", "x", "key", rows=oid, size=oid * 10) for oid in (1, 2)]
    plan = RestorePlan(
        archive="a",
        source="s",
        system_id="1",
        database="d",
        point=Moment("latest", "latest", 1, "0/1", 1),
        checkpoint=Start(Ref(1, 1), "0/1", 1, "baseline", 1, 3, 30),
        segments=Range(1, 1, 1, 7),
        schema=SchemaLine(Ref(1, 1), "0/1", 1, "baseline", 180000, "", certain=True, reason=""),
        tables=lines,
        gaps=gaps,
        approximations=approximations,
        sequences_before=Ref(1, 1),
    )
    excerpt = Excerpt.parse(["one"], [], [], "", None)
    assert excerpt is not None
    found = narrowed(plan, excerpt_tables(excerpt, CATALOG), CATALOG)
    assert [gap.seq for gap in found.gaps] == [1, 3, 4]
    assert found.approximations == [approximations[0], "the schema: …"]
    assert (found.checkpoint.rows, found.checkpoint.size, found.segments.size) == (1, 10, 7)
    assert [line.oid for line in found.tables] == [1]
    assert found.sequences_before is None
    assert any("generated columns of public.one: g" in text for text in found.not_included)
