"""What became of a trial: its points, each with what differed and whether that was said."""

from __future__ import annotations

from dataclasses import dataclass, field

from fidelity.differences import Difference
from fidelity.fingerprint import Fingerprint


@dataclass
class Point:
    """A moment at the source, and what became of it."""

    label: str
    position: str
    """What ``archiver restore --at`` takes."""
    fingerprint: Fingerprint
    gaps: list[str] = field(default_factory=list)
    """What the plan calls not known."""
    said: list[Difference] = field(default_factory=list)
    unsaid: list[Difference] = field(default_factory=list)
    failure: str = ""
    """Why it could not be restored at all."""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Nothing differs that the plan did not say."""
        return not self.failure and not self.unsaid


@dataclass
class Outcome:
    """One run over one server."""

    title: str
    points: list[Point]
    statements: int
    errors: list[str]
    roles: list[str] = field(default_factory=list)
    """Roles that the SQL made and that are still at the server."""

    @property
    def ok(self) -> bool:
        """Every point came back as it was, or as the plan said."""
        return bool(self.points) and all(point.ok for point in self.points)
