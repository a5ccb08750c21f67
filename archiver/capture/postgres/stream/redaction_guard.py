"""The last look before anything is journaled: what the server describes has no column that is to be hidden.

The server leaves such columns out by itself. It has them in what was written before our publication named its columns, and whenever
somebody altered that: then not one value of it may reach the journal. Every value comes behind the description of its table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from archiver.errors import Unavailable
from archiver.postgres.replication_messages import XLOG_HEADER, described_columns, not_understood

if TYPE_CHECKING:
    from collections.abc import Iterable

    from archiver.capture.postgres.catalog.redaction import Redaction


class Exposed(Unavailable):
    """The server sends a column that is to be hidden; nothing of it was journaled."""


def see_hidden(frames: Iterable[bytes], redaction: Redaction) -> None:
    """Raise ``Exposed`` when one of ``frames``, XLogData messages with a Relation, has a column that ``redaction`` hides."""
    for frame in frames:
        # Inside a transaction that is streamed an id comes first. Which it is shows in where the message ends.
        readings = [found for skip in (0, 4) if (found := described_columns(frame, XLOG_HEADER + 1 + skip)) is not None]
        if not readings:
            raise not_understood("a description of a table that cannot be read")
        for found in readings:
            if names := redaction.exposed(*found):
                raise Exposed(
                    f"the server sends {found.schema}.{found.table}.{', '.join(names)}, which is redacted",
                    hint="what was written before the column was hidden cannot be received without it: a gap is recorded, and a new"
                    " baseline taken; see who alters the archiver's publications if it comes again",
                )
