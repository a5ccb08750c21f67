"""Segments that were read once, kept on this machine's disk for whoever reads them again: a restore plans first and folds then.

Segments never change, so what was kept is right for as long as the archive is. It is checked like what comes from the store, and what
cannot be kept, or reads back otherwise, is asked for again.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from array import array
from bisect import bisect_right
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

MOST_BYTES = 4 << 30
"""Of the file, however much is free: a Pod may have less room than its node's disk says."""

_log = structlog.get_logger()


class KeptSegments:
    """A file without a name in the temporary folder; it goes with the process. Safe for several threads; never raises for the disk."""

    def __init__(self, folder: Path | None = None, *, most_bytes: int | None = None) -> None:
        """``most_bytes``: of the file; by default half of what is free there at first, and ``MOST_BYTES`` at most."""
        self._folder, self._most = folder, most_bytes
        self._file: int | None = None
        self._full = False
        self._size = 0
        self._lock = threading.Lock()
        # Runs of consecutive numbers, as pairs of place and length: sixteen bytes for each segment, however many there are.
        self._firsts: list[int] = []
        self._runs: list[array[int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def keep(self, number: int, data: bytes) -> None:
        """Keep a segment's stored bytes, if there is room."""
        with self._lock:
            if self._full or self._place(number) is not None:
                return
            try:
                file = self._opened()
                if self._most is not None and self._size + len(data) > self._most:
                    self._give_up(f"{self._size} bytes are kept, and no more may be")
                    return
                view, at = memoryview(data), self._size
                while view:
                    written = os.pwrite(file, view, at)
                    view, at = view[written:], at + written
            except OSError as error:
                self._give_up(error.strerror or type(error).__name__)
                return
            self._note(number, self._size, len(data))
            self._size += len(data)

    def length(self, number: int) -> int:
        """How many bytes of a segment are kept; 0: it is not here."""
        with self._lock:
            place = self._place(number)
        return place[1] if place is not None else 0

    def find(self, number: int) -> bytes | None:
        """A segment's stored bytes; ``None`` when they are not here."""
        with self._lock:
            place, file = self._place(number), self._file
            if place is None or file is None:
                return None
            start, length = place
            try:
                data = os.pread(file, length, start)
            except OSError:
                return None
        return data if len(data) == length else None

    def close(self) -> None:
        """Give the room back. Nothing is kept afterwards."""
        with self._lock:
            self._full = True
            self._firsts, self._runs = [], []
            if self._file is not None:
                os.close(self._file)
            self._file = None

    def _opened(self) -> int:
        if self._file is None:
            folder = self._folder or Path(tempfile.gettempdir())
            if self._most is None:
                # Others need room there as well: the restored database may lie on the same disk.
                self._most = min(MOST_BYTES, shutil.disk_usage(folder).free // 2)
            handle, name = tempfile.mkstemp(prefix="archiver-segments-", dir=folder)
            Path(name).unlink()
            self._file = handle
        return self._file

    def _give_up(self, reason: str) -> None:
        self._full = True
        _log.info("segments_not_kept", reason=reason, effect="what is needed again is read from the archive again")

    def _note(self, number: int, start: int, length: int) -> None:
        at = bisect_right(self._firsts, number)
        if at and self._firsts[at - 1] + len(self._runs[at - 1]) // 2 == number:
            self._runs[at - 1].extend((start, length))
        else:
            self._firsts.insert(at, number)
            self._runs.insert(at, array("q", (start, length)))

    def _place(self, number: int) -> tuple[int, int] | None:
        """Where in the file, and how many bytes."""
        at = bisect_right(self._firsts, number) - 1
        if at < 0:
            return None
        run, place = self._runs[at], 2 * (number - self._firsts[at])
        return (run[place], run[place + 1]) if place < len(run) else None
