"""Options that mean nothing for the sources and targets at hand."""

from __future__ import annotations

import contextlib
from typing import get_args

import pytest

from archiver.errors import Invalid
from archiver.replay.fitting import Place, require_fitting
from archiver.replay.targets import Target, TargetKind

_ONE_SOURCE: list[tuple[str, TargetKind | None, set[Place]]] = [
    ("postgres", "database", {"database", "into a database", "into either"}),
    ("postgres", "folder", {"database", "database into a folder"}),
    ("postgres", None, {"database", "into a database", "into either", "database into a folder"}),
    ("kubernetes", "cluster", {"cluster", "into a cluster", "into either"}),
    ("kubernetes", "folder", {"cluster"}),
    ("kubernetes", None, {"cluster", "into a cluster", "into either"}),
]


@pytest.mark.parametrize(("kind", "target", "fitting"), _ONE_SOURCE)
def test_an_option_fits_some_sources_and_targets(kind: str, target: TargetKind | None, fitting: set[Place]) -> None:
    """Every place, for one source; where only the plan is wanted, any target is possible."""
    targets = [] if target is None else [Target("a", target, "x")]
    taken = set[Place]()
    for place in get_args(Place):
        with contextlib.suppress(Invalid):
            require_fitting({"--option": place}, {"a": kind}, targets)
            taken.add(place)
    assert taken == fitting


def test_one_of_several_is_enough() -> None:
    """A restore of two sources takes the options of both."""
    targets = [Target("a", "database", "x"), Target("b", "folder", "y")]
    require_fitting({"--no-owner": "database", "--kind": "cluster"}, {"a": "postgres", "b": "kubernetes"}, targets)
    with pytest.raises(Invalid, match="--mode"):
        require_fitting({"--mode": "into a cluster"}, {"a": "postgres", "b": "kubernetes"}, targets)
