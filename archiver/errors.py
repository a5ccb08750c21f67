"""Every error that a user can meet, by what the user must do about it.

    ArchiverError
    ├── Invalid       fix the settings, the arguments or the input         exit 2
    ├── Refused       it would do harm; do what the hint says, or say so   exit 3
    ├── Unavailable   something outside does not answer; it is retried     exit 4
    ├── Fenced        another writer has taken the archive over; stop      exit 5
    ├── HistoryLost   a source no longer has what the journal misses       exit 6
    ├── Corrupt       stored bytes are not what was written; run verify    exit 7
    ├── Partial       it was written to, and something is missing; it is named   exit 8
    ├── Unmet         what was restored is not what its owner asserts      exit 9
    └── Bug           a promise of this program is broken; report it       exit 70

Messages start in lower case, end without a full stop, name what happened and where, and never carry row data or
secrets. ``hint`` says the next step. This module imports nothing, so that every other one may import it.
"""

from __future__ import annotations

from typing import ClassVar


class ArchiverError(Exception):
    """Base of the hierarchy above; never raised itself."""

    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class Invalid(ArchiverError):
    """Settings, arguments or input are wrong. Nothing has been touched."""

    exit_code = 2


class Refused(ArchiverError):
    """What was asked would do harm. Nothing has been touched. The hint says what to do."""

    exit_code = 3


class Unavailable(ArchiverError):
    """A store, database or API server does not answer in time. Trying again may succeed."""

    exit_code = 4


class Fenced(ArchiverError):
    """A newer writer owns the archive. Nothing appended since its fence was acknowledged to any source."""

    exit_code = 5


class HistoryLost(ArchiverError):
    """A source cannot deliver what follows the journal's end. The journal records it as a gap."""

    exit_code = 6


class Corrupt(ArchiverError):
    """Stored bytes are truncated, altered or of an unknown version."""

    exit_code = 7


class Partial(ArchiverError):
    """A restore wrote, and not everything came back. The report or the message names the rest; of a database, a file holds it as SQL."""

    exit_code = 8


class Unmet(ArchiverError):
    """A drill restored everything, and the restored state is not what its owner asserts. The report names what does not hold."""

    exit_code = 9


class Bug(ArchiverError):
    """An invariant does not hold. Nothing further was written."""

    exit_code = 70
