"""Whether the API server serves a resource no longer: discovery alone may be incomplete for a moment."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from archiver.errors import Unavailable

if TYPE_CHECKING:
    from archiver.capture.kubernetes.discovery import Discovery
    from archiver.capture.kubernetes.stream_scope import StreamScope
    from archiver.kubernetes.api import Api

_LOOKS = 3


class ResourceAbsence:
    """Asks for what discovery did not name, and counts how often in a row it did not."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._unserved: Counter[str] = Counter()

    def served(self, stream: str) -> None:
        """Discovery named the resource of ``stream``."""
        self._unserved.pop(stream, None)

    async def ended(self, scope: StreamScope, found: Discovery) -> bool:
        """Discovery did not name the resource of ``scope``: whether that is so because it is gone, or in another scope now."""
        resource = scope.resource
        namespaced = {(each.group, each.plural): each.namespaced for each in found.resources}
        # The path of a cluster-scoped resource answers as well when it is a namespaced one's: all namespaces.
        rescoped = namespaced.get((resource.group, resource.plural), resource.namespaced) != resource.namespaced
        answered = resource.group not in found.unanswered
        self._unserved[scope.stream] += answered
        return rescoped or (answered and await self._missing(scope))

    async def replaced(self, scope: StreamScope, found: Discovery) -> bool:
        """Whether another version takes its place, and is not only what was left because the preferred one did not answer."""
        return scope.resource.group not in found.unanswered or await self._missing(scope)

    async def _missing(self, scope: StreamScope) -> bool:
        """Whether the API server says that it does not serve it, beyond what one look at discovery says. Where the right to read it is
        missing it does not say so; then several looks must do.
        """
        if not scope.resource.version:
            return True
        try:
            answer = await self._api.get(scope.path, {"limit": "1"})
        except Unavailable:
            return False
        return answer.status == 404 or (answer.status == 403 and self._unserved[scope.stream] >= _LOOKS)
