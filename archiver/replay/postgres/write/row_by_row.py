"""Rows that a table does not take together: each that is refused is set aside with its bytes, all others are written."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

import psycopg

from archiver.replay.postgres.write.target_database import explained, is_fatal

if TYPE_CHECKING:
    from archiver.replay.postgres.write.row_target import RowTarget
    from archiver.replay.postgres.write.target_database import Connection

_BATCH = 1000
"""Rows that are tried together first."""
_HOPELESS = 1000
"""When so many rows were refused and none was taken, the others are set aside untried."""


@dataclass(slots=True)
class RowOutcome:
    """What became of the rows."""

    written: int = 0
    aside: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    """Kinds of error, and how many rows had each."""

    @property
    def reason(self) -> str:
        """For people."""
        return f"the target refuses them: {', '.join(self.reasons)}"


async def write_row_by_row(
    connection: Connection, target: RowTarget | None, pieces: AsyncIterable[bytes | memoryview], aside: IO[bytes], doing: str
) -> RowOutcome:
    """``pieces``: COPY text of whole rows. ``target``: None sets all of them aside. Raises ``Unavailable``."""
    found = RowOutcome()
    async for piece in pieces:
        lines = [line + b"\n" for line in bytes(piece).removesuffix(b"\n").split(b"\n")]
        for start in range(0, len(lines), _BATCH):
            batch = lines[start : start + _BATCH]
            if target is None or (found.aside >= _HOPELESS and not found.written):
                aside.writelines(batch)
                found.aside += len(batch)
            else:
                await _put(connection, target, batch, aside, doing, found)
    return found


async def _put(connection: Connection, target: RowTarget, batch: Sequence[bytes], aside: IO[bytes], doing: str, found: RowOutcome) -> None:
    waiting = [batch]
    while waiting:
        rows = waiting.pop()
        await connection.execute(b"SAVEPOINT batch")
        try:
            await target.put(_once(b"".join(rows)))
        except psycopg.Error as error:
            failed = explained(error, doing, rows=True)
            if is_fatal(failed):
                raise failed from error
            await connection.execute(b"ROLLBACK TO batch; RELEASE batch")
            if len(rows) > 1:
                half = len(rows) // 2
                waiting += [rows[half:], rows[:half]]
                continue
            aside.write(rows[0])
            found.aside += 1
            kind = f"{type(error).__name__} (SQLSTATE {error.sqlstate})"
            found.reasons[kind] = found.reasons.get(kind, 0) + 1
        else:
            await connection.execute(b"RELEASE batch")
            found.written += len(rows)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
