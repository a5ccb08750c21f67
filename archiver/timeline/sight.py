"""What of an archive whoever asks may see. What is no clear yes is left out, and that something is left out is said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from archiver.kubernetes.stream_name import StreamName
from archiver.timeline.reviews import GROUP, SOURCES, Right

if TYPE_CHECKING:
    from archiver.lake.counts import Lane
    from archiver.timeline.reviews import Reviews, User

MOST_ASKED = 2000
"""Rights that are looked up for one question; what is behind that is left out."""


class Sight:
    """Everything: of whoever has the token of this server."""

    limited = False
    """Whether something was left out so far."""

    async def whole(self, source: str) -> bool:  # noqa: ARG002
        """Whether all of ``source`` may be seen: a database, or a cluster with whatever is in it."""
        return True

    async def kind(self, source: str, kind: str) -> bool:  # noqa: ARG002
        """Whether all objects of ``plural.group`` may be; the core group's end with a dot."""
        return True

    async def one(self, source: str, kind: str, namespace: str) -> bool:  # noqa: ARG002
        """Whether objects in one namespace may be, or in none. Without ``kind``: what is of the source itself, or of its rows."""
        return True

    async def part_of(self, stream: str) -> bool:  # noqa: ARG002
        """Whether something of a database, or of a stream of a cluster, is known that may be."""
        return True

    async def may_have(self, stream: str) -> bool:  # noqa: ARG002
        """Whether something of it may be, as far as that is told without reading it: what is in it must be asked about, one by one."""
        return True


class ReviewedSight(Sight):
    """What one user may see, for one question."""

    def __init__(self, reviews: Reviews, user: User, cluster: str, lanes: Callable[[], Iterable[Lane]]) -> None:
        """``cluster``: the source that is the cluster whose API server is asked; empty: none is. ``lanes``: all that are known, once
        something was counted for this question.
        """
        self._reviews, self._user, self._cluster, self._lanes = reviews, user, cluster, lanes
        self._asked = set[Right]()

    async def whole(self, source: str) -> bool:
        """See ``Sight``. A right to a source, and not to its kinds: what it has now says nothing of what it had."""
        return self._left_out(yes=await self._may(Right("get", GROUP, SOURCES, self._reviews.namespace, source)))

    async def kind(self, source: str, kind: str) -> bool:
        """See ``Sight``. Whoever may list a kind is told all that is in it."""
        return self._left_out(yes=await self._kind(source, kind))

    async def one(self, source: str, kind: str, namespace: str) -> bool:
        """See ``Sight``."""
        found = await self._kind(source, kind) or (bool(namespace) and source == self._cluster and await self._listed(kind, namespace))
        return self._left_out(yes=found)

    @cached_property
    def _inside(self) -> dict[str, set[str]]:
        """Namespaces in which something of the cluster changed, by kind."""
        found: dict[str, set[str]] = {}
        for lane in self._lanes():
            if lane.source == self._cluster:
                found.setdefault(lane.name, set()).add(lane.namespace)
        return found

    async def part_of(self, stream: str) -> bool:
        """See ``Sight``."""
        name = StreamName.parse(stream)
        kind = f"{name.plural}.{name.group}" if name.plural else ""
        if await self._kind(name.source, kind):
            return True
        inside = {name.namespace} if name.namespace else self._inside.get(kind, set()) - {""}
        if name.source != self._cluster or not inside:
            return self._left_out(yes=False)
        # Those of some namespaces are known; of the others nothing is told.
        self.limited = True
        return any(await asyncio.gather(*(self._listed(kind, each) for each in sorted(inside))))

    async def may_have(self, stream: str) -> bool:
        """See ``Sight``. What is not counted yet, or is no change, has no lane, and may be in any namespace."""
        name = StreamName.parse(stream)
        yes = await self._kind(name.source, f"{name.plural}.{name.group}" if name.plural else "")
        self._left_out(yes=yes)
        return yes or (bool(name.plural) and name.source == self._cluster)

    async def _kind(self, source: str, kind: str) -> bool:
        if await self._may(Right("get", GROUP, SOURCES, self._reviews.namespace, source)):
            return True
        return source == self._cluster and await self._listed(kind, "")

    async def _listed(self, kind: str, namespace: str) -> bool:
        plural, dot, group = kind.partition(".")
        # A plural alone may be of any group: it is nothing to have rights to.
        return bool(plural and dot) and await self._may(Right("list", group, plural, namespace))

    async def _may(self, right: Right) -> bool:
        if right not in self._asked:
            if len(self._asked) >= MOST_ASKED:
                return False
            self._asked.add(right)
        return await self._reviews.may(self._user, right)

    def _left_out(self, *, yes: bool) -> bool:
        self.limited = self.limited or not yes
        return yes
