"""What to do next with one stream: list, probe, confirm, compare or watch. Pure: the reflector does it and tells how it ended.

    ┌────────┐ nothing known, replaced cluster                   ┌──────┐ complete
    │ start  ├──────────────────────────────────────────────────▶│ LIST ├──────────┐
    └───┬────┘                                                   └──▲───┘          ▼
        │ complete list and position  ┌───────┐ lower: new epoch    │  410     ┌───────┐
        └────────────────▶ PROBE ────▶│CONFIRM├─────────────────────┤◀─────────┤ WATCH │
                          ▲  │  │ 504└───┬───┘ another past: new   │ verify   └─┬───▲─┘
                          │  │  ▼        │     epoch; or verify     │            │   │
                          │  │ COMPARE ──┼──────────────────────────┘            │   │
                          │  │ the same  │                                       │   │
                          │  └──▶────────┼──▶────────────────────────────────────┼───┘
                          └──────────────┴──◀──────────── ended ◀────────────────┘

PROBE is a list of one object not older than the position. A watch from a position that the server has never reached is accepted and stays
silent (kubernetes/kubernetes#107457), so no watch begins without a probe, unless a list has just shown the position.

COMPARE is a list as it was at exactly the position, against what is known. An etcd that was put back soon passes the position again, with
another past: only the objects tell. It is made where the watch did not end in order, and at a start.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal

from archiver.capture.kubernetes.failures import Failure
from archiver.kubernetes.json_fields import order
from archiver.waiting import GrowingPause

Cause = Literal["start", "resume", "expired", "error", "schema_changed", "cluster_changed", "verify"]

_COMPARISONS = 2
"""Failed for other reasons than a server that is away for a moment: it cannot do it."""
_ERRORS_BEFORE_LIST = 8
_SHORT_SECONDS = 1.0


class Step(Enum):
    """What the reflector does next."""

    PROBE = "probe"
    CONFIRM = "confirm"
    COMPARE = "compare"
    LIST = "list"
    WATCH = "watch"


class Backoff:
    """0.8 s, doubling to 30 s, each with up to as much again at random; from the beginning after 120 s without a failure (client-go)."""

    def __init__(self, first: float = 0.8, most: float = 30.0, healthy: float = 120.0) -> None:
        self._pause = GrowingPause(first, most, least=1.0, most=2.0)
        self._healthy = healthy
        self._last: float | None = None

    def pause(self, now: float, chance: float) -> float:
        """Seconds to wait after a failure at monotonic time ``now``; ``chance`` in [0, 1)."""
        if self._last is not None and now - self._last > self._healthy:
            self._pause.reset()
        pause = self._pause.next(chance)
        self._last = now + pause
        return pause


class ListWatch:
    """One stream's position and next step. ``pause`` is how long to wait before it; times are monotonic seconds."""

    def __init__(self, *, position: str, epoch: int, resumable: bool, replaced: bool = False) -> None:
        """``resumable``: a list is complete and ``position`` follows it. ``replaced``: the cluster is known to be another one."""
        self.position = position
        self.epoch = epoch
        self.pause = 0.0
        self.cause: Cause = "cluster_changed" if replaced else "start"
        self.step = Step.PROBE if resumable and position and not replaced else Step.LIST
        self.watch_cause: Cause | None = "resume" if self.step is Step.PROBE else None
        """Why the next watch begins, if that is worth an entry."""
        self.overflowed = False
        """Set when the watch was given up because the journal could not keep up; until the next list or event."""
        self.rewound = False
        """The cluster has gone back in time, and nobody was told yet."""
        self._replaced = replaced
        self._proven = False
        """Whether the server's past is the one that is known."""
        self._failed_comparisons = 0
        self._errors = 0
        self._backoff = Backoff()
        self._expired = False
        """The last list was followed by nothing but the word that its version is expired."""
        self._expirations = Backoff()

    def probed(self, failure: Failure | None, now: float, chance: float) -> None:
        """The server answered the probe."""
        if failure is None:
            self._go(Step.WATCH if self._proven else Step.COMPARE)
        elif failure.kind == "ahead":
            self._proven = False
            self._go(Step.CONFIRM)
        else:
            self._failed(failure, now, chance)

    def confirmed(self, version: str, known: str, now: float, chance: float) -> None:
        """A consistent list of one object carries ``version``: older than what is known (``known``) means that the cluster was rewound."""
        if order(version, known) < 0:
            self._rewound()
        else:
            # The server that answered lags, or has passed the position meanwhile; it is asked again, but ever more slowly.
            self._go(Step.PROBE, self._backoff.pause(now, chance))

    def compared(self, failure: Failure | None, *, same: bool, now: float, chance: float) -> None:
        """The server listed what it held at exactly the place of what is known: the ``same``, or ``failure``."""
        if failure is None and same:
            self._proven, self._failed_comparisons = True, 0
            self._go(Step.WATCH)
        elif failure is None:
            self._rewound()
        elif failure.kind == "ahead":
            self._go(Step.CONFIRM)
        elif failure.kind == "expired":
            self.verify()
        else:
            self._failed_comparisons += failure.kind == "unavailable"
            if self._failed_comparisons >= _COMPARISONS:
                self.verify()
            else:
                self._failed(failure, now, chance)

    def replaced(self) -> None:
        """Another stream has found that the cluster went back in time: list anew, in a new epoch."""
        self.cause = "cluster_changed"
        self._replaced = True
        self._go(Step.LIST)

    def _rewound(self) -> None:
        self.rewound = True
        self.replaced()

    def list_began(self, version: str) -> Cause:
        """The first page of a consistent list carries ``version``; why this list is made. A rewound cluster begins a new epoch here."""
        if self.position and not self._replaced and order(version, self.position) < 0:
            self._replaced = self.rewound = True
        if self._replaced:
            self.epoch += 1
            self._replaced = False
            self.cause = "cluster_changed"
            self.position = ""
        return self.cause

    def listed(self, version: str) -> None:
        """The list is complete and handed to the journal. After a verifying list the watch goes on where it was."""
        if self.cause != "verify" or not self.position:
            self.position = version
            self.watch_cause = None
        self.overflowed = False
        self._errors = 0
        self._proven, self._failed_comparisons = True, 0
        self._go(Step.WATCH)

    def list_failed(self, failure: Failure, now: float, chance: float) -> None:
        """The list did not become complete: once more from its beginning; a verifying one later, so that the watch goes on meanwhile."""
        pause = failure.retry_after if failure.kind == "throttled" else max(failure.retry_after, self._backoff.pause(now, chance))
        self._go(Step.PROBE if self.cause == "verify" else Step.LIST, pause)

    def heard(self, version: str) -> None:
        """An event or a bookmark arrived."""
        self.position = version
        self._errors = 0
        self._expired = False
        self.overflowed = False

    def watch_ended(self, failure: Failure | None, lasted: float, *, heard: bool, early: bool, now: float, chance: float) -> None:
        """The watch ended: ``None`` in order. A watch that ends at once having said nothing counts as a failure: no tight loop. ``early``:
        before its time, as when the server was stopped.
        """
        if failure is not None or early:
            self._proven = False
        if lasted > _SHORT_SECONDS:
            self._expired = False
        if failure is not None:
            self._failed(failure, now, chance)
        elif lasted < _SHORT_SECONDS and not heard:
            self._go(Step.PROBE, self._backoff.pause(now, chance))
        else:
            self._go(Step.PROBE)

    def overflow(self) -> None:
        """The watch was given up because the journal could not keep up. It goes on from its position, if the server still has that."""
        self.overflowed = True
        self.watch_cause = "error"
        self._go(Step.PROBE)

    def verify(self) -> None:
        """Make a list beside the watch's position to compare with what is known."""
        self.cause = "verify"
        self._go(Step.LIST)

    def _failed(self, failure: Failure, now: float, chance: float) -> None:
        self._errors += 1
        if failure.kind == "expired":
            self.cause = "expired"
            # A server that says so of each list's own version would be listed as fast as it answers, and each list is journaled.
            pause = self._expirations.pause(now, chance) if self._expired else 0.0
            self._expired = True
            self._go(Step.LIST, pause)
        elif failure.kind == "throttled":
            self._go(Step.PROBE, failure.retry_after)
        elif failure.kind == "unavailable" and self._errors >= _ERRORS_BEFORE_LIST:
            self.cause = "error"
            self._go(Step.LIST, self._backoff.pause(now, chance))
        else:
            self.watch_cause = "error"
            self._go(Step.PROBE, max(failure.retry_after, self._backoff.pause(now, chance)))

    def _go(self, step: Step, pause: float = 0.0) -> None:
        self.step, self.pause = step, pause
