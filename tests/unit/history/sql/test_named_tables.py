"""Which table of the archive a question names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.errors import Invalid
from archiver.history.sql.column_types import column_type
from archiver.history.sql.named_tables import KnownTable, chosen, parts_of, quoted

RUNS, OTHER, AUDIT = KnownTable("db", "public", "runs"), KnownTable("db", "other", "runs"), KnownTable("db", "other", "Audit")
TOOLS, KRUNS = KnownTable("kube", "main", "tools", "tools.b.io"), KnownTable("kube", "main", "runs", "runs.a.io")


@given(st.lists(st.text(min_size=1).filter(lambda text: "\x00" not in text), min_size=1, max_size=3))
def test_quoted_names_read_back(parts: list[str]) -> None:
    """Whatever a source calls things; what follows a name is none of it."""
    name = ".".join(map(quoted, parts))
    assert parts_of(name) == parts
    assert parts_of(f"{name} AS x") == parts


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("runs", [RUNS, OTHER], RUNS),
        ("RUNS", [RUNS], RUNS),
        ("other.runs", [RUNS, OTHER], OTHER),
        ("db.public.runs", [RUNS, KRUNS], RUNS),
        ("kube.runs", [RUNS, KRUNS], KRUNS),
        ('"runs.a.io"', [RUNS, KRUNS], KRUNS),
        ("tools", [RUNS, TOOLS], TOOLS),
        ('other."Audit" AS a', [RUNS, AUDIT], AUDIT),
    ],
)
def test_a_name_means_one(name: str, known: list[KnownTable], meant: KnownTable) -> None:
    """Of a table or kind, with as much before it as is needed."""
    assert chosen([name, name], known) == [meant]


@pytest.mark.parametrize("name", ["nothing", "public.tools", "db.runs", "x.y.z"])
def test_a_name_that_means_nothing(name: str) -> None:
    """Is an error that tells what there is."""
    with pytest.raises(Invalid, match="no table or kind") as error:
        chosen([name], [RUNS, TOOLS])
    assert "public.runs, kube.tools" in error.value.hint


def test_the_nearest_name_comes_first_and_the_rest_is_counted() -> None:
    """Also where an archive has many kinds: the tables come before them."""
    kinds = [KnownTable("kube", "main", f"kind{number}", f"kind{number}.b.io") for number in range(30)]
    with pytest.raises(Invalid) as error:
        chosen(["run"], [*kinds, RUNS])
    assert error.value.hint.startswith("did you mean runs? there are: public.runs, kube.kind0,")
    assert error.value.hint.endswith(" and 11 more")


def test_a_name_that_means_several() -> None:
    """Is an error that tells how to name one."""
    with pytest.raises(Invalid, match="several sources have runs") as error:
        chosen(["runs"], [OTHER, KRUNS])
    assert '"db"."other"."runs"' in error.value.hint


@pytest.mark.parametrize(
    ("of", "found"),
    [
        ("integer", "INTEGER"),
        ("numeric(10,2)", "DECIMAL(10,2)"),
        ("numeric", "VARCHAR"),
        ("numeric(50,2)", "VARCHAR"),
        ("numeric(2,5)", "VARCHAR"),
        ("character varying(10)", "VARCHAR"),
        ("timestamp(3) with time zone", "TIMESTAMPTZ"),
        ("integer[]", "VARCHAR"),
        ("public.mood", "VARCHAR"),
    ],
)
def test_types_that_hold_the_same_values(of: str, found: str) -> None:
    """Else it stays text."""
    assert column_type(of) == found
