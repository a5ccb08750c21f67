"""Reading the JSON records of the journal. Whoever can write to the archive can put any bytes there, with every hash right."""

from __future__ import annotations

from typing import TypeVar

from archiver.errors import Corrupt
from archiver.journal.entry import Placed
from archiver.journal.segment import CONTENT_LIMIT, CorruptSegment
from archiver.untrusted import Unreadable, decode_untrusted

_Record = TypeVar("_Record")


def read_record(body: bytes, of: type[_Record], placed: Placed | None = None) -> _Record:
    """``body`` as an ``of``. ``placed``: the run that holds it, to say where it stands. Raises ``Corrupt`` and nothing else."""
    try:
        return decode_untrusted(body, of, most=CONTENT_LIMIT)
    except Unreadable as error:
        what = f"a {of.__name__.lstrip('_')} record cannot be read: {error}"
        if placed is None:
            raise Corrupt(f"{what}, in the journal", hint="run `archiver verify`") from None
        last = placed.first + placed.run.count - 1
        which = f"entry {last}" if placed.run.count == 1 else f"one of the entries {placed.first} to {last}"
        raise CorruptSegment(placed.segment, f"{which} ({placed.run.kind.name}): {what}") from None
