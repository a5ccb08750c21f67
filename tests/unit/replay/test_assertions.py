"""Whether what was found is what the owner expects."""

from __future__ import annotations

import re
from typing import Any

import pytest

from archiver.errors import Invalid
from archiver.replay.assertions import Answer, Assertion, judge
from archiver.replay.kubernetes.object_values import compile_path, require_captured, values_of


def _assert(**more: Any) -> Assertion:
    return Assertion(name="a", source="s", **more)


@pytest.mark.parametrize(
    ("expected", "values", "holds"),
    [
        ({"equals": 3}, ["3"], True),
        ({"equals": 3}, ["3.0"], True),
        ({"equals": 3}, ["4"], False),
        ({"equals": 0.1}, [0.1], True),
        ({"equals": 1}, [True], False),
        ({"equals": "3"}, ["3"], True),
        ({"equals": "3"}, [3], False),
        ({"equals": 3}, [None], False),
        ({"equals": ""}, [None], False),
        ({"equals": True}, ["t"], True),
        ({"equals": True}, [True], True),
        ({"equals": False}, ["t"], False),
        ({"equals": True}, [1], False),
        ({"at_least": 2}, ["2"], True),
        ({"at_least": 2}, ["1.99"], False),
        ({"at_least": 2}, ["NaN"], False),
        ({"at_least": 2}, ["many"], False),
        ({"at_least": 2}, [None], False),
        ({"at_least": 1, "at_most": 2}, [1, 2], True),
        ({"at_least": 1, "at_most": 2}, [1, 3], False),
        ({"at_most": 9007199254740993}, ["9007199254740993000"], False),
        ({"nothing": True}, [], True),
        ({"nothing": True}, [None], False),
        ({"equals": 3}, [], False),
    ],
)
def test_a_value_is_compared_as_what_is_expected(expected: dict[str, Any], values: list[Any], holds: bool) -> None:
    """Numbers as numbers, text as text; NULL and no row are never what is expected, unless that is nothing."""
    assert judge(_assert(sql="x", **expected), Answer(values)).holds is holds


def test_an_outcome_says_what_was_found() -> None:
    """The value, its beginning where it is long, which of many was wrong; or why there is none."""
    assert judge(_assert(equals=3), Answer(["4"])).found == "4"
    assert judge(_assert(equals=3), Answer([None])).found == "NULL"
    assert judge(_assert(equals=3), Answer([3, 4, 5])).found == "4 (2 of 3 values are not what is expected)"
    assert judge(_assert(equals="x"), Answer(["y" * 300])).found == "y" * 200 + "…"
    assert judge(_assert(nothing=True), Answer(fault="it was ended")).found == "it was ended"
    assert not judge(_assert(nothing=True), Answer(fault="it was ended")).holds
    assert judge(_assert(at_least=1, at_most=2.5), Answer([1])).expected == "at least 1 and at most 2.5"


def _object(name: str, namespace: str = "agents", **more: Any) -> tuple[tuple[str, str, str], dict[str, Any]]:
    return ("runs.example.com", namespace, name), {"metadata": {"name": name, "namespace": namespace, "labels": {"app": name}}, **more}


OBJECTS = dict(
    [
        _object("a", status={"phase": "Ready", "n": 1}),
        _object("b", status={"phase": "Ready", "n": 2}),
        _object("c", "other", status={"phase": "Lost"}),
        _object("d", "bare"),
    ]
)


@pytest.mark.parametrize(
    ("asked", "values"),
    [
        ({}, [4]),
        ({"namespace": "agents"}, [2]),
        ({"selector": "app in (a, c)"}, [2]),
        ({"namespace": "agents", "path": "$.status.phase"}, ["Ready", "Ready"]),
        ({"selector": "app=b", "path": "$.status[?@ > 1]"}, [2]),
        ({"namespace": "nowhere"}, [0]),
        ({"path": "$.spec", "nothing": True}, []),
        ({"namespace": "nowhere", "path": "$.spec", "nothing": True}, []),
    ],
)
def test_objects_are_counted_or_asked(asked: dict[str, Any], values: list[Any]) -> None:
    """By kind, namespace and labels; with a path all values there, of each object at least one."""
    answer = values_of(_assert(kind="runs", **asked), OBJECTS)
    assert (answer.values, answer.fault) == (values, "")


def test_no_object_is_no_proof() -> None:
    """What every object should have is not met by none at all, nor by one that has nothing there."""
    assert values_of(_assert(kind="runs", namespace="nowhere", path="$.status", equals="x"), OBJECTS).fault == "there is no such object"
    assert (
        values_of(_assert(kind="runs", path="$.status.phase", equals="Ready"), OBJECTS).fault
        == "runs.example.com bare/d has nothing at the path"
    )
    assert values_of(_assert(kind="other", nothing=True), OBJECTS) == Answer([], of=0)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"nothing": True}, "something (of 4 objects)"),
        ({"namespace": "agents", "at_least": 1}, "2 (of 4 objects)"),
        ({"selector": "app=x", "nothing": True}, "nothing (of 4 objects)"),
        ({"namespace": "agents", "path": "$.spec", "nothing": True}, "nothing at the path (of 2 objects)"),
        ({"namespace": "agents", "path": "$.status.phase", "equals": "Ready"}, "2 values, each as expected (of 2 objects)"),
    ],
)
def test_an_outcome_says_of_how_many_objects(asked: dict[str, Any], found: str) -> None:
    """Whoever reads that nothing was found sees whether there was something to find it in."""
    assertion = _assert(kind="runs", **asked)
    assert judge(assertion, values_of(assertion, OBJECTS)).found == found


NARROW = ["s/example.com/runs@agents", "s/core/pods@agents"]
WIDE = ["s/example.com/runs", "s/core/pods", "s/core/namespaces"]


@pytest.mark.parametrize(
    ("asked", "streams", "words"),
    [
        ({"kind": "rns"}, NARROW, "no such kind .* did you mean runs?"),
        ({"kind": "runs.exmple.com"}, NARROW, "no such kind .* did you mean runs.example.com?"),
        ({"kind": "Pod"}, WIDE, "no such kind"),
        ({"kind": "runs", "namespace": "agent"}, NARROW, "namespace 'agent'.* did you mean agents?"),
        ({"kind": "runs", "namespace": "agent"}, WIDE, "namespace 'agent'.* did you mean agents?"),
    ],
)
def test_what_is_not_captured_is_refused(asked: dict[str, Any], streams: list[str], words: str) -> None:
    """A misspelt kind or namespace would hold of nothing."""
    with pytest.raises(Invalid) as refused:
        require_captured(_assert(nothing=True, **asked), streams, OBJECTS)
    assert re.search(words, f"{refused.value.message} {refused.value.hint}")


@pytest.mark.parametrize(
    ("asked", "streams"),
    [
        ({"kind": "runs"}, NARROW),
        ({"kind": "runs.example.com", "namespace": "agents"}, NARROW),
        ({"kind": "pods", "namespace": "agents"}, NARROW),
        ({"kind": "pods", "namespace": "empty"}, WIDE),
        # Nobody knows which namespaces there are.
        ({"kind": "runs", "namespace": "empty"}, WIDE[:2]),
    ],
)
def test_what_is_captured_is_asked(asked: dict[str, Any], streams: list[str]) -> None:
    """Though there be no object of it."""
    require_captured(_assert(nothing=True, **asked), streams, [*OBJECTS, ("namespaces", "", "empty")])


def test_objects_that_nest_deeply_are_a_fault() -> None:
    """Whoever writes an object chooses its depth: the drill fails by name, it does not end."""
    deep: Any = {}
    for _ in range(3000):
        deep = {"a": deep}
    key, manifest = _object("deep", spec=deep)
    assert "cannot be followed" in values_of(_assert(kind="runs", path="$..b", equals=1), {key: manifest}).fault


@pytest.mark.parametrize("function", ["search", "match"])
def test_regular_expressions_are_refused(function: str) -> None:
    """Whoever writes a message would choose how long a drill takes, and nothing could end it."""
    with pytest.raises(Invalid, match="match and search are not taken"):
        compile_path(f"$.conditions[?{function}(@.message, '^(a+)+$')]")
    assert compile_path("$.a[?length(@.b) > 1]").findall({"a": [{"b": "xx"}]}) == [{"b": "xx"}]


@pytest.mark.parametrize("path", ["status", "$.a |", "$.a[", "$.~", "$[?@.a =~ /x/]", "("])
def test_what_is_no_path_is_refused(path: str) -> None:
    """Extensions of a library are none of RFC 9535."""
    with pytest.raises(Invalid, match="no JSONPath"):
        compile_path(path)
