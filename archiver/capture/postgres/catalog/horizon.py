"""Which transactions are running; and how far back every commit is seen for sure."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import psycopg

from archiver.capture.postgres.session.access import Session, translated


async def running_here(session: Session) -> frozenset[int]:
    """Ids (the low 32 bits) of all transactions that are running and may have written to this database.

    From the lock that each holds on its own id until after it became visible: a snapshot lists only those below its xmax, and a transaction
    above it runs unlisted.
    """
    try:
        cursor = await session.execute(
            "SELECT l.transactionid::text::int8 FROM pg_locks l"
            " LEFT JOIN pg_stat_activity a ON a.pid = l.pid LEFT JOIN pg_prepared_xacts p ON p.transaction = l.transactionid"
            " WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted"
            " AND coalesce(a.datname, p.database, current_database()) = current_database()"
        )
        return frozenset(xid for (xid,) in await cursor.fetchall())
    except psycopg.Error as error:
        raise translated(error, "reading running transactions") from error


async def log_end_and_running(session: Session) -> tuple[str, frozenset[int]]:
    """End of the log, then the running transactions: in this order, and before a snapshot, they bound what the snapshot cannot see."""
    try:
        row = await (await session.execute("SELECT pg_current_wal_insert_lsn()::text")).fetchone()
    except psycopg.Error as error:
        raise translated(error, "reading the position") from error
    assert row is not None
    return row[0], await running_here(session)


class _Reading(NamedTuple):
    lsn: str
    running: frozenset[int]
    at: float


class Horizon:
    """Readings of the database that found nothing new, and the LSN before which nothing can be unseen.

    A commit record can stand in the log before its transaction becomes visible (it may wait for a synchronous standby), so the log's end at
    a reading does not bound what that reading could not see; the end at an earlier one does, once all that ran then has ended.
    """

    def __init__(self, floor: str = "") -> None:
        self._floor = floor
        self._kept: _Reading | None = None
        """That ``_floor`` is of: behind a transaction that stays open there are soon no others that tell."""
        self._readings: deque[_Reading] = deque(maxlen=64)

    def add(self, lsn: str, running: frozenset[int], at: float) -> None:
        """A reading: first the log's end was read, then what runs (``running_here``), then a snapshot taken. ``at``: monotonic seconds."""
        self._readings.append(_Reading(lsn, running, at))
        self._kept = self._reading(None) or self._kept
        self._floor = self.floor()

    def floor(self) -> str:
        """Every transaction that the newest reading did not see commits at or after this LSN. Empty: not known."""
        return self._newest(None) or self._floor

    def floor_and_age(self, now: float, before: float | None = None) -> tuple[str, float] | None:
        """``floor`` (with ``before``: ``floor_before``) and the seconds since the reading that it is of; ``None`` when there is none."""
        reading = self._reading(before) or (self._kept if before is None else None)
        return (reading.lsn, now - reading.at) if reading is not None else None

    def floor_before(self, at: float) -> str:
        """The same of the readings up to the moment ``at`` only, for what is noticed late; empty when there is none."""
        return self._newest(at)

    def _newest(self, before: float | None) -> str:
        reading = self._reading(before)
        return reading.lsn if reading is not None else ""

    def _reading(self, before: float | None) -> _Reading | None:
        now = self._readings[-1].running if self._readings else frozenset()
        for reading in reversed(self._readings):
            if not reading.running & now and (before is None or reading.at <= before):
                return reading
        return None
