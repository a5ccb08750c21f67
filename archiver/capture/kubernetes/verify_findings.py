"""What verifying lists found that no event has explained yet. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archiver.capture.kubernetes.journal_view import ResumedStream
    from archiver.capture.kubernetes.known_objects import Verification
    from archiver.capture.kubernetes.stream_context import Interest
    from archiver.kubernetes.json_fields import Event


class VerifyFindings:
    """The newest verifying list as long as events may still explain what it found, and the list that agreed last."""

    def __init__(self, resumed: ResumedStream | None, interest: Interest) -> None:
        """``resumed``: the stream as the journal has it."""
        self.agreed: tuple[str, int] = resumed.agreed if resumed is not None else ("", 0)
        """resourceVersion and time of the last list that agreed with what was known, or made it so."""
        self._open = resumed.verification if resumed is not None else None
        if self._open is not None and interest.keep is not None:
            self._open.only(interest.keep)

    @property
    def open(self) -> bool:
        """Whether something is left to be explained."""
        return self._open is not None

    def found(self, verification: Verification | None) -> None:
        """A verifying list is complete; ``None``: its resourceVersion cannot be compared with those of events."""
        self._open = verification

    def event(self, event: Event) -> None:
        """The watch brought ``event``."""
        if self._open is not None:
            self._open.event(event)

    def passed(self, position: str) -> Verification | None:
        """The verifying list that the watch, now at ``position``, has passed, if any: what it still holds was missed. Given once."""
        return self.give_up() if self._open is not None and self._open.passed(position) else None

    def give_up(self) -> Verification | None:
        """What will not be explained any more, because the watch ended."""
        given, self._open = self._open, None
        return given
