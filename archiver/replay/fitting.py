"""Which options mean something for the sources and targets of a restore. Pure: an option that would be passed over is refused."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from archiver.errors import Invalid
from archiver.replay.targets import Target

Place = Literal["database", "cluster", "into a database", "into a cluster", "into either", "database into a folder"]
"""What an option is about: a source of that kind, or a source that is restored into such a target."""

_ABOUT: dict[Place, str] = {
    "database": "databases",
    "cluster": "objects of a cluster",
    "into a database": "a database as the target",
    "into a cluster": "an API server as the target",
    "into either": "a database or an API server as the target",
    "database into a folder": "a database that is written into a folder",
}
_FITTING: dict[Place, set[tuple[str, str]]] = {
    "database": {("postgres", "database"), ("postgres", "folder")},
    "cluster": {("kubernetes", "cluster"), ("kubernetes", "folder")},
    "into a database": {("postgres", "database")},
    "into a cluster": {("kubernetes", "cluster")},
    "into either": {("postgres", "database"), ("kubernetes", "cluster")},
    "database into a folder": {("postgres", "folder")},
}
"""Kind of source, kind of target."""


def require_fitting(said: Mapping[str, Place], chosen: Mapping[str, str], targets: Collection[Target]) -> None:
    """``Invalid`` for an option of ``said`` that none of the ``chosen`` sources, by name their kind, has a use for.

    A source without a target may get any that fits it: only its plan is wanted.
    """
    kinds = {target.source: target.kind for target in targets}
    for option, place in said.items():
        fitting = _FITTING[place]
        if not any((kind, kinds[name]) in fitting if name in kinds else _may_fit(kind, place) for name, kind in chosen.items()):
            told = ", ".join(f"{name} ({kind}{f', into a {kinds[name]}' if name in kinds else ''})" for name, kind in chosen.items())
            raise Invalid(
                f"{option} is about {_ABOUT[place]}, and of what is restored nothing fits: {told}",
                hint=f"leave {option} out, or name another source or target",
            )


def _may_fit(kind: str, place: Place) -> bool:
    return any(source == kind for source, _ in _FITTING[place])
