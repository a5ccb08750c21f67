"""Where an archive begins whose oldest segments were retired. What a boundary says is so from the moment that it exists, whatever of the
retired objects is still there: deleting is clean-up, and may stop anywhere.

Boundaries are numbered 1, 2, 3, …, each made from the one before and created if absent, so two passes never both go on from the same one.
They only grow: what one retired no later one needs. So whoever still deletes by an older one deletes nothing that counts. A boundary is
never deleted: create-if-absent forgets deleted keys, and a pass that slept would create its number again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from archiver.clock import to_text
from archiver.errors import Corrupt, Refused
from archiver.journal.chain import End
from archiver.journal.entry import SourceMark
from archiver.journal.extent import Extent, Span
from archiver.journal.keys import BOUNDARIES, boundary_key, boundary_number
from archiver.untrusted import Unreadable, decode_untrusted

if TYPE_CHECKING:
    from archiver.store.protocol import Store

FORMAT = 1
LIMIT = 1 << 27
"""Bytes that a boundary may have."""
_NAMES = 16
"""Names that are looked at: what has no such name is not ours."""
_PUT_BACK = "put it back from a copy of the archive: without it nobody knows where the archive begins"


class Kept(msgspec.Struct, frozen=True):
    """Segments before the boundary that stay, from ``first`` to ``last``."""

    first: int
    last: int
    chain: str
    """Chain hash after the last one, hex."""


class Floor(msgspec.Struct, frozen=True):
    """The oldest point of a source that was promised when the boundary was made."""

    entry: int
    time: int


class Boundary(msgspec.Struct, frozen=True, kw_only=True):
    """See the module. JSON; fields are only added, with defaults; ``format`` rises when older programs must not read the archive."""

    format: int = FORMAT
    archive: str
    number: int
    first: int
    """All segments from this one on are there."""
    chain: str
    """Chain hash before it, hex: where proving begins."""
    epoch: int
    session: int
    next: int
    """Its first entry."""
    time: int
    """Journal time of the last valid segment before it."""
    sources: dict[str, SourceMark]
    """Where every source stood before it."""
    begins: dict[str, int] = {}
    """By source: the segment with its oldest entry, whether it is still there or not."""
    kept: list[Kept] = []
    """In order; they neither overlap nor touch, nor do they touch ``first``."""
    floors: dict[str, Floor] = {}
    """By source as in the settings."""
    marks: dict[str, int] = {}
    """Names of marks in retired segments, and their entries: a name stays given."""
    plan: str = ""
    """Identity of the plan that it carries out."""
    made: int = 0
    by: str = ""

    @property
    def end(self) -> End:
        """The journal's state before ``first``, as far as reading needs it."""
        return End(self.archive, self.first - 1, self.epoch, self.session, self.next, bytes.fromhex(self.chain), self.time, self.sources)

    @property
    def extent(self) -> Extent:
        """Which segments there are."""
        return Extent(self.first, [Span(each.first, each.last) for each in self.kept])


class Retired(Refused):
    """What was asked for lies before the boundary, and was retired."""

    def __init__(self, what: str, boundary: Boundary) -> None:
        promised = ", ".join(f"{name} from {to_text(floor.time)}" for name, floor in sorted(boundary.floors.items()))
        super().__init__(
            f"{what} was retired: the journal begins with segment {boundary.first}, entry {boundary.next}",
            hint=f"choose a later point; promised: {promised}" if promised else "choose a later point",
        )


async def newest_boundary(store: Store) -> Boundary | None:
    """The boundary that counts; ``None``: nothing was ever retired. ``Corrupt`` when it cannot be read: nothing is known then."""
    for key in await store.list(BOUNDARIES, limit=_NAMES):
        if (number := boundary_number(key)) is not None:
            return decode_boundary(await store.get(key, 0, LIMIT + 1) or b"", number)
    return None


def decode_boundary(body: bytes, number: int) -> Boundary:
    """The boundary with that number. ``Corrupt``: it is none, or of a later format."""
    key = boundary_key(number)
    try:
        found = decode_untrusted(body, Boundary, most=LIMIT)
        well = len(bytes.fromhex(found.chain)) == 32 and all(len(bytes.fromhex(each.chain)) == 32 for each in found.kept)
    except Unreadable as error:
        raise Corrupt(f"{key} cannot be read: {error}", hint=_PUT_BACK) from None
    except ValueError:
        well = False
    if well and found.format != FORMAT:
        raise Corrupt(f"{key} has format {found.format}; this program knows {FORMAT}", hint="use a newer archiver")
    if not well or found.number != number or not _is_in_order(found):
        raise Corrupt(f"{key} is not the boundary that its key says", hint=_PUT_BACK)
    return found


def _is_in_order(found: Boundary) -> bool:
    end = -2
    for each in found.kept:
        if not end + 1 < each.first <= each.last:
            return False
        end = each.last
    return end + 1 < found.first and found.next > 0
