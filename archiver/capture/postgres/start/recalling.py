"""What the journal hides already, for a start: by its numbers if it is of the server's own system, else by its names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from archiver.capture.postgres.session.access import translated
from archiver.capture.postgres.start.journal_view import newest_schema, schema_system

if TYPE_CHECKING:
    from archiver.capture.postgres.catalog.redaction import Redaction
    from archiver.capture.postgres.session.access import Session
    from archiver.journal.entry import SourceMark
    from archiver.journal.reader import Reader
    from archiver.postgres.records import Catalog


async def recall(reader: Reader, source: str, mark: SourceMark, session: Session, redaction: Redaction) -> Catalog | None:
    """Have ``redaction`` know what the journal's newest catalog hides. That catalog, if columns are redacted and it is of the system
    behind ``session``. Raises ``Corrupt``, ``Unavailable``, ``Refused``.
    """
    if not redaction.lines or (newest := await newest_schema(reader, source, mark)) is None:
        return None
    try:
        cursor = await session.execute("SELECT system_identifier::text, current_database()::text FROM pg_catalog.pg_control_system()")
        server = await cursor.fetchone()
    except psycopg.Error as error:
        raise translated(error, "asking the server who it is") from error
    own = await schema_system(reader, source, mark) == server
    redaction.recall(newest.catalog, own=own)
    return newest.catalog if own else None
