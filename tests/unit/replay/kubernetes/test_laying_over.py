"""What managedFields cannot say, or say wrongly, takes lists as they were captured."""

from __future__ import annotations

from typing import Any

import pytest

from archiver.replay.kubernetes.laying_over import laid_over

KEYED: dict[str, Any] = {"f:spec": {"f:l": {'k:{"k":"a"}': {".": {}, "f:k": {}, "f:v": {}}}}}
A, B = {"k": "a"}, {"k": "b"}


def made(wanted: Any, there: Any, fields: Any) -> Any:
    captured = {"metadata": {"name": "x", "managedFields": [{"manager": "m", "fieldsV1": fields}]}, "spec": {"l": wanted}}
    plain = {"metadata": {"name": "x"}, "spec": {"l": wanted}}
    return laid_over(plain, captured, {"metadata": {"name": "x"}, "spec": {"l": there}})["spec"]["l"]


@pytest.mark.parametrize(
    ("fields", "wanted", "there", "expected"),
    [
        (KEYED, [A], [B, A, B | {"k": "c"}], [B, A, {"k": "c"}]),
        (KEYED, [A | {"v": 1}], [A | {"v": 2, "w": 3}], [{"k": "a", "v": 1, "w": 3}]),
        (KEYED, [A], [B, B], [A]),
        (KEYED, [A], [{"v": 1}], [A]),
        (KEYED, [A], ["text"], [A]),
        ({"f:spec": {"f:l": {"k:{": {}}}}, [A], [B], [A]),
        ({"f:spec": {"f:l": {"k:{}": {}}}}, [A], [B], [A]),
        ({"f:spec": {"f:l": {'v:"a"': {}}}}, ["a"], ["b", "a"], ["b", "a"]),
        ({"f:spec": {"f:l": {}}}, ["a"], ["b"], ["a"]),
        ({"f:spec": {"f:l": {}}}, {"a": 1}, {"b": 1}, {"a": 1}),
        ({"f:spec": {"f:l": {".": {}}}}, {"a": 1}, {"b": 1}, {"a": 1, "b": 1}),
        ({}, {"a": 1}, {"b": 1}, {"a": 1, "b": 1}),
        ({"f:spec": "text"}, ["a"], ["b"], ["a"]),
        ({"f:spec": {"f:l": {'k:{"k":"a"}': "text"}}}, [A | {"v": 1}], [A, B], [A | {"v": 1}, B]),
        ("none", ["a"], ["b"], ["a"]),
    ],
)
def test_lists_and_maps(fields: Any, wanted: Any, there: Any, expected: Any) -> None:
    """Items that cannot be told apart are not merged; those that can stay where they stood."""
    assert made(wanted, there, fields) == expected


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"f:spec": {"f:l": {}}}, {}),
        ({"f:spec": {"f:l": {"f:b": {}}}}, {"b": 1}),
        ({"f:spec": {"f:l": {".": {}}}}, {"b": 1}),
        ({"f:spec": {}}, {"b": 1}),
        ({}, {"b": 1}),
    ],
)
def test_an_empty_map_replaces_what_is_atomic_in_the_living_object(known: Any, expected: Any) -> None:
    """A selector that took everything takes everything again; what others set in a map of single fields stays."""
    captured = {"metadata": {"name": "x", "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {"f:l": {}}}}]}, "spec": {"l": {}}}
    there = {"metadata": {"name": "x", "managedFields": [{"manager": "n", "fieldsV1": known}]}, "spec": {"l": {"b": 1}}}
    assert laid_over({"metadata": {"name": "x"}, "spec": {"l": {}}}, captured, there)["spec"]["l"] == expected
