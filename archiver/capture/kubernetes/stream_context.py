"""What one stream is given: what all streams of its source share, and which of its objects are captured, and how much of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from archiver.capture.kubernetes.config import KubernetesConfig
    from archiver.capture.kubernetes.outbox import Outbox
    from archiver.capture.kubernetes.redaction import Redactor
    from archiver.clock import Clock
    from archiver.kubernetes import json_fields as kj
    from archiver.kubernetes.api import Api


@dataclass(frozen=True, slots=True)
class StreamContext:
    """What all streams of one source share."""

    api: Api
    outbox: Outbox
    clock: Clock
    config: KubernetesConfig
    cluster: str
    lists: asyncio.Semaphore
    """Bounds lists that run at the same time."""
    probes: asyncio.Semaphore
    """Bounds requests for one object at the same time."""
    rewinds: Rewinds
    """How often the cluster went back in time."""


class Rewinds:
    """How often the streams of a source found that their cluster went back in time. One finds it, all list anew."""

    def __init__(self) -> None:
        self.count = 0
        self._told: list[Callable[[], None]] = []

    def tell(self, told: Callable[[], None]) -> None:
        """Call ``told`` at every rewind from now on."""
        self._told.append(told)

    def found(self) -> None:
        """A stream found one that nobody knew of."""
        self.count += 1
        for told in self._told:
            told()


@dataclass(frozen=True, slots=True)
class Interest:
    """Which objects of a stream are captured, how much of them, and who hears of them."""

    keep: Callable[[str], bool] | None = None
    """Names of objects that are captured, None: all; the others are not journaled."""
    noticed: Callable[[kj.Meta], None] | None = None
    """Told of every object captured."""
    generation: Callable[[], int] = lambda: 0
    """Generation of the resource's definition, as far as it is known; 0 unknown."""
    redactor: Redactor | None = None
    """Cuts what must not be captured."""

    @property
    def redacted(self) -> list[str]:
        """The paths that are cut."""
        return self.redactor.paths if self.redactor is not None else []
