"""What the owner of each source asserts, asked of what a drill has restored."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from archiver.errors import Invalid
from archiver.journal.drill_reports import AssertionOutcome
from archiver.replay.assertions import Assertion, DrillOptions, judge
from archiver.replay.kubernetes.manifests import bare
from archiver.replay.kubernetes.object_values import require_captured, values_of
from archiver.replay.kubernetes.restore import ClusterRestoration
from archiver.replay.kubernetes.selection import Key
from archiver.replay.postgres.restore import ask
from archiver.replay.restoration import Restoration
from archiver.suggestions import meant


def asked_of(options: DrillOptions, sources: Collection[str], known: Collection[str]) -> list[Assertion]:
    """The assertions about ``sources``, which are restored. ``Invalid`` for one about what is not among ``known``, all of the archive:
    it would never be asked.
    """
    for each in options.assertions:
        if each.source not in known:
            raise Invalid(
                f"the assertion {each.name!r} is about {each.source!r}, and the archive has only {', '.join(sorted(known))}",
                hint=f"{meant(each.source, known)}name one of them",
            )
    return [each for each in options.assertions if each.source in sources]


def require_askable(assertions: Sequence[Assertion], planned: Sequence[Restoration]) -> None:
    """``Invalid`` when one cannot be asked of where its source is restored to: a drill that leaves one out would pass for nothing."""
    places = {each.source: each for each in planned}
    for each in assertions:
        place = places[each.source]
        of_objects = isinstance(place, ClusterRestoration)
        if bool(each.kind) != of_objects:
            what = "objects, and that source is a database" if each.kind else "a database, and that source is a cluster"
            raise Invalid(f"the assertion {each.name!r} is about {what}", hint="say sql of a database, kind of a cluster")
        if isinstance(place, ClusterRestoration):
            require_captured(each, [stream.name for stream in place.plan.streams], place.prepared.objects.by_key)
        if each.sql and (place.target is None or place.target.kind != "database"):
            raise Invalid(
                f"the assertion {each.name!r} asks a database, and {each.source} is restored into a folder",
                hint="name a scratch server: --scratch-dsn, in the chart drill.scratchDsnSecret",
            )


async def outcomes(assertions: Sequence[Assertion], planned: Sequence[Restoration], *, seconds: float) -> list[AssertionOutcome]:
    """Ask them all, whatever comes of the first. Raises ``Unavailable`` for a scratch server that does not answer any more."""
    places = {each.source: each for each in planned}
    found = []
    for each in assertions:
        place = places[each.source]
        if isinstance(place, ClusterRestoration):
            answer = await asyncio.to_thread(values_of, each, restored_objects(place))
        else:
            assert place.target is not None
            answer = await ask(place.target.value, each.sql, seconds=seconds)
        found.append(judge(each, answer))
    return found


def restored_objects(place: ClusterRestoration) -> dict[Key, dict[str, object]]:
    """What the restore wrote, without what a server sets: the comparison at its end has shown that the target holds just this."""
    by_key = place.prepared.objects.by_key
    return {action.key: bare(by_key[action.key]) for action in place.plan.actions if action.do != "skip"}
