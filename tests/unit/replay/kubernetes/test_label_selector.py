"""Label selectors as kubectl takes them."""

from __future__ import annotations

import pytest

from archiver.errors import Invalid
from archiver.replay.kubernetes.label_selector import LabelSelector


@pytest.mark.parametrize(
    ("text", "fitting", "others"),
    [
        ("", [{}, {"a": "1"}, "no labels"], []),
        ("a=1", [{"a": "1"}, {"a": "1", "b": "2"}], [{}, {"a": "2"}, {"a": 1}, ["a"], None]),
        ("a==1", [{"a": "1"}], [{"a": "2"}]),
        ("a!=1", [{}, {"a": "2"}], [{"a": "1"}]),
        ("a=", [{"a": ""}], [{}, {"a": "1"}]),
        ("example.com/a in (1, 2)", [{"example.com/a": "1"}, {"example.com/a": "2"}], [{}, {"example.com/a": "3"}]),
        ("a notin (1,2)", [{}, {"a": "3"}], [{"a": "1"}]),
        ("a", [{"a": ""}], [{}]),
        ("!a", [{}], [{"a": ""}]),
        ("a in (1, 2), !b,c!=3 ", [{"a": "1"}, {"a": "2", "c": "4"}], [{"a": "1", "b": ""}, {"a": "1", "c": "3"}]),
        ("in=1", [{"in": "1"}], [{"in": "2"}]),
    ],
)
def test_what_fits(text: str, fitting: list[object], others: list[object]) -> None:
    """Every form of kubectl; an object without a label differs from every value."""
    selector = LabelSelector.parse(text)
    assert all(selector.matches(labels) for labels in fitting)
    assert not any(selector.matches(labels) for labels in others)


@pytest.mark.parametrize("text", ["=1", "a=1,", ",", "a in 1", "a in (1", "a=b=c", "a b", "a=1 b=2", "a>1", "!", "a in (x y)", "a=\u00e4"])
def test_what_is_none_is_refused(text: str) -> None:
    """Never read as something else."""
    with pytest.raises(Invalid, match="is no label selector"):
        LabelSelector.parse(text)
