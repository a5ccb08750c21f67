"""Naming tables to pg_dump."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from archiver.capture.postgres.session.dump_selection import Tables, covering

names = st.lists(st.tuples(st.sampled_from("st"), st.text("ab_", min_size=1, max_size=5)), unique=True, max_size=40)


def matches(pattern: Tables, table: tuple[str, str]) -> bool:
    schema, name = table
    return pattern.schema == schema and (name.startswith(pattern.name) if pattern.beginning else name == pattern.name)


@given(names, st.data())
def test_all_of_them_and_no_other(tables: list[tuple[str, str]], data: st.DataObject) -> None:
    """Whatever the names: every table that is left out is named, no other is, and no pattern is one too many."""
    wanted = {table for table in tables if data.draw(st.booleans())}
    patterns = covering(wanted, set(tables) - wanted)
    assert {table for table in tables if any(matches(pattern, table) for pattern in patterns)} == wanted
    assert len(patterns) <= len(wanted)


def test_a_schema_of_its_own_is_one_pattern() -> None:
    """Tables that stand alone in their schema cost nothing, however many they are; among others they are named by what they begin with."""
    assert [each.pattern for each in covering([("m", f"t{number}") for number in range(99)], [("p", "t1")])] == ['"m".*']
    among = covering([("p", f"evil{number}") for number in range(99)], [("p", "events"), ("p", "t1")])
    assert [each.pattern for each in among] == ['"p"."evi"*']
