"""Since when announcements of schema changes were sealed without a break: what a schema entry says of the time before it. Pure.

unknown -> in force since the look that found the keys -> the same keys at every look: still
        <- other keys, none, a trigger that is off or of another version, a stream without messages
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from archiver.postgres.records import Sealing

if TYPE_CHECKING:
    from archiver.postgres.announcement_seal import SealKeys


class SealedSpan:
    """Fed with what each look finds, in order."""

    def __init__(self, known: Sealing | None = None, judged: SealKeys | None = None, *, hears: bool = True) -> None:
        """``known``: of the journal's newest schema; it goes on where the stream ``judged`` by the same keys from its beginning on.

        ``hears``: the stream has messages.
        """
        self._hears = hears
        self._now = known if known is not None and hears and judged is not None and known.keys == judged.name else None

    def looked(self, keys: SealKeys | None, lsn: str) -> None:
        """A look found ``keys`` in force, with triggers of this version, before the log's end was at ``lsn``; ``None``: not so."""
        if keys is None or not self._hears:
            self.broken()
        elif self._now is None or self._now.keys != keys.name:
            self._now = Sealing(lsn, keys.name)

    def broken(self) -> None:
        """Nobody knows how announcements are judged from here on."""
        self._now = None

    def still(self, keys: SealKeys | None) -> Sealing | None:
        """The span up to a schema that was taken before ``keys`` were read once more; ``None``: there is none, or it broke meanwhile."""
        if self._now is None or keys is None or self._now.keys != keys.name:
            self._now = None
        return self._now
