"""Which changes are asked for, and what is told whatever is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.errors import Invalid
from archiver.history.span.changes import DOUBTS, OBJECT, OPERATIONS, ROW, Change
from archiver.history.span.selection import Selection

ROWS = st.builds(
    Change, entry=st.just(1), at=st.just(1), time=st.just(1), source=st.sampled_from(["db", "other"]), operation=st.sampled_from(ROW),
    table=st.sampled_from(["public.a", "public.b"]), key=st.sampled_from([{}, {"id": "1"}, {"id": "22"}]), transaction=st.integers(1, 3),
)  # fmt: skip
OBJECTS = st.builds(
    Change, entry=st.just(1), at=st.just(1), time=st.just(1), source=st.sampled_from(["kube", "other"]), operation=st.sampled_from(OBJECT),
    kind=st.sampled_from(["runs.a.io", "tools.b.io"]), namespace=st.sampled_from(["", "x"]), name=st.sampled_from(["one", "two"]),
    field_manager=st.sampled_from(["", "cook (Update)", "cook (Apply/status)", "me"]),
)  # fmt: skip
CHANGES = ROWS | OBJECTS
FILTERS: dict[str, Any] = {
    "sources": {"db", "kube"},
    "tables": {"public.a"},
    "transactions": {1, 2},
    "kinds": {"runs", "tools.b.io"},
    "namespaces": {"x"},
    "managers": {"cook", "me"},
    "operations": set(OPERATIONS),
    "keys": {"id=2*", "x/o?e", "*"},
}
SELECTIONS = st.fixed_dictionaries({}, optional={name: st.frozensets(st.sampled_from(sorted(some))) for name, some in FILTERS.items()})


@given(SELECTIONS, CHANGES)
@settings(max_examples=200, deadline=None)
def test_who_may_have_made_a_change_is_asked_for_with_everybody(chosen: dict[str, Any], change: Change) -> None:
    """Where that cannot be read, a choice of managers leaves nothing out; every other choice holds."""
    others = Selection(**{**chosen, "managers": frozenset(), "kinds": chosen.get("kinds") or frozenset({change.kind or "none"})})
    selection = Selection(**{**chosen, "kinds": others.kinds})
    assert selection.shows(change, attributed=False) is others.shows(change)
    assert selection.shows(change, attributed=False) or not selection.shows(change)


@given(SELECTIONS, st.lists(CHANGES, max_size=20))
@settings(max_examples=200, deadline=None)
def test_what_is_asked_for_is_a_part_and_more_filters_ask_for_less(chosen: dict[str, Any], changes: list[Change]) -> None:
    """Each filter by itself leaves out; together they leave out what any of them does. What is read is never less than what is shown."""
    selection = Selection(**chosen)
    shown = [each for each in changes if selection.shows(each)]
    for each in shown:
        assert selection.source(each.source)
        assert selection.kind(each.kind) if each.kind else selection.table(each.table)
        assert not each.kind or selection.object(each.namespace, each.name)
    of_objects = {"kinds", "namespaces", "managers"}
    of_rows = {"tables", "transactions"}
    for name, values in chosen.items():
        alone = Selection(**{name: values})
        for each in shown:
            # A filter of the other sort does not concern it.
            other = of_rows if each.kind else of_objects
            assert alone.shows(each) or name in other, (name, each)
    if not any(chosen.values()):
        assert shown == changes


@given(SELECTIONS, st.sampled_from(DOUBTS))
@settings(max_examples=50, deadline=None)
def test_what_is_not_known_of_a_source_is_told(chosen: dict[str, Any], operation: str) -> None:
    """Whatever is asked for of it."""
    doubt = Change(1, 1, 1, "db", operation, detail="x")
    assert Selection(**chosen).shows(doubt) is (not chosen.get("sources") or "db" in chosen["sources"])


def test_only_one_sort_is_asked_for() -> None:
    """A table asks for no objects and a kind for no rows; both together for both."""
    row, thing = Change(1, 1, 1, "db", "insert", table="public.a"), Change(1, 1, 1, "k", "added", kind="runs.a.io", name="one")
    for said, shown in (({"tables"}, [True, False]), ({"kinds"}, [False, True]), ({"tables", "kinds"}, [True, True])):
        selection = Selection(**{name: frozenset(FILTERS[name]) for name in said})
        assert [selection.shows(row), selection.shows(thing)] == shown


def test_an_operation_that_there_is_not() -> None:
    """Is an error, which names those that there are."""
    with pytest.raises(Invalid, match="no operation 'upsert'") as error:
        Selection(operations=frozenset({"upsert"}))
    assert "truncate" in error.value.hint
