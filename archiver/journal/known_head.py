"""A chain head that was noted where nobody who can write to the archive can write: what shows that history was rewritten."""

from __future__ import annotations

import re

import msgspec

from archiver.errors import Invalid

_TEXT = re.compile(r"([0-9a-fA-F]{64})(?:@(\d{1,19}))?")


class KnownHead(msgspec.Struct, frozen=True):
    """The chain hash of a segment, which stands for it and for all before it."""

    chain: str
    """64 hex digits."""
    number: int | None = None
    """Of the segment; ``None``: not noted, any segment may have it."""

    @classmethod
    def parse(cls, text: str) -> KnownHead:
        """``HASH`` or ``HASH@NUMBER``, as ``archiver verify`` prints it. Raises ``Invalid``."""
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise Invalid(
                f"{text[:100]!r} is not a chain head", hint="give what `archiver verify` printed: 64 hex digits, @ and a segment's number"
            )
        return cls(match[1].lower(), int(match[2]) if match[2] else None)

    def __str__(self) -> str:
        return self.chain if self.number is None else f"{self.chain}@{self.number}"


class HeadComparison:
    """Compares the valid segments of a journal, one after the other, with a head that is known."""

    def __init__(self, known: KnownHead) -> None:
        self._known = known
        self._found = False
        self._fault = ""
        self._retired = -1

    def pass_segment(self, number: int, chain: str) -> None:
        """The next valid segment."""
        if chain == self._known.chain and self._known.number in (None, number):
            self._found = True
        elif number == self._known.number:
            self._fault = f"segment {number} has another chain hash than was noted: it, or one before it, was rewritten"

    def retire(self, number: int, chain: str) -> None:
        """Segments up to ``number``, with that chain hash, were retired."""
        self._retired = number
        self.pass_segment(number, chain)

    def fault(self, last: int) -> str:
        """Why the journal, of which ``last`` is the last good segment, is not the one that was noted; empty when it is."""
        if self._found or self._fault:
            return self._fault
        number = self._known.number
        if number is None:
            return f"no segment up to {last} has the chain hash that was noted: the journal was rewritten or cut off, or is another one"
        if number < self._retired:
            return f"segment {number} was noted and was retired since: nothing proves it any more; note a newer head"
        if number > last:
            return f"the journal was noted up to segment {number} and ends, or is damaged, behind segment {last}: its end was cut off"
        return f"segment {number} was noted and is void now: the journal was rewritten"
