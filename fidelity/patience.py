"""Scripts that never end: a statement that runs too long is cancelled, such a script is stopped; both are told, and the run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Self

import psycopg

NAME = "fidelity"
"""What the sessions that run scripts call themselves."""
_TICK = 0.25
_GRACE = 5.0
_LONG = """
SELECT pid, pid || ' ' || query_start, left(regexp_replace(query, '\\s+', ' ', 'g'), 120) FROM pg_catalog.pg_stat_activity
 WHERE application_name = %s AND datname = pg_catalog.current_database() AND state = 'active'
   AND pg_catalog.clock_timestamp() - query_start > pg_catalog.make_interval(secs => %s)
"""
_END_ALL = """
SELECT pg_catalog.pg_terminate_backend(pid, 5000) FROM pg_catalog.pg_stat_activity
 WHERE application_name = %s AND datname = pg_catalog.current_database()
"""


@dataclass(frozen=True)
class Patience:
    """How long to wait. The time in which points are taken does not count."""

    statement_seconds: float = 120.0
    script_seconds: float = 900.0


class Watch:
    """Around one psql that leads a process group: ends what takes longer than ``patience``, and psql itself when the run is given up."""

    def __init__(self, dsn: str, psql: subprocess.Popen[bytes], patience: Patience) -> None:
        self._dsn, self._psql, self._patience = dsn, psql, patience
        self._over = threading.Event()
        self._lock = threading.Lock()
        """Held while a point is taken."""
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._cancelled: dict[str, float] = {}
        self.notes: list[str] = []
        """What was ended, in plain words."""
        self.ended = False
        """psql itself was ended."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if kind is not None:
            self._end()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is ended, and no time counts."""
        with self._lock:
            yield

    def _look(self) -> None:
        ran, looked = 0.0, time.monotonic()
        while not self._over.wait(_TICK):
            before = time.monotonic()
            with self._lock:
                now = time.monotonic()
                ran += before - looked
                looked = now
                if ran > self._patience.script_seconds:
                    self.notes.append(f"it ran longer than {self._patience.script_seconds:g} s and was stopped: what follows did not run")
                    self._end()
                    return
                if ran > self._patience.statement_seconds:
                    self._cancel(now)

    def _cancel(self, now: float) -> None:
        """Cancel statements that run too long; those that ran on after that lose their session."""
        with suppress(psycopg.Error), psycopg.connect(self._dsn, autocommit=True, connect_timeout=10) as session:
            for pid, key, query in session.execute(_LONG, [NAME, self._patience.statement_seconds]).fetchall():
                if key not in self._cancelled:
                    self._cancelled[key] = now
                    self.notes.append(f"a statement ran longer than {self._patience.statement_seconds:g} s and was cancelled: {query}")
                    session.execute("SELECT pg_catalog.pg_cancel_backend(%s)", [pid])
                elif now - self._cancelled[key] > _GRACE:
                    session.execute("SELECT pg_catalog.pg_terminate_backend(%s)", [pid])

    def _end(self) -> None:
        """psql, what it started, and what the server still does for it."""
        self.ended = True
        with suppress(ProcessLookupError):
            os.killpg(self._psql.pid, signal.SIGKILL)
        with suppress(psycopg.Error), psycopg.connect(self._dsn, autocommit=True, connect_timeout=10) as session:
            session.execute(_END_ALL, [NAME])
