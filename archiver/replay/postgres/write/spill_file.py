"""What does not fit into memory, in a file without a name in the temporary folder: it goes with the process, however that ends."""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from pathlib import Path

from archiver import disk
from archiver.errors import Unavailable

_DOING = "keep changed rows that do not fit into memory (TMPDIR names another place)"


class SpillFile:
    """A ``Spill``. The file is made when the first bytes come, and closed with the object."""

    def __init__(self, folder: Path | None = None) -> None:
        """``folder``: by default the temporary one."""
        self._folder = folder
        self._place = folder or disk.temporary_folder()
        self._file = -1
        self._size = 0
        self._lock = threading.Lock()

    def put(self, data: bytes | memoryview) -> int:
        """See ``Spill``."""
        view = memoryview(data).cast("B")
        with self._lock, disk.errors(_DOING, self._place):
            if self._file < 0:
                self._file, name = tempfile.mkstemp(prefix="archiver-spill-", dir=self._folder)
                weakref.finalize(self, os.close, self._file)
                Path(name).unlink()
            place = at = self._size
            while view:
                written = os.pwrite(self._file, view, at)
                view, at = view[written:], at + written
            self._size = at
        return place

    def take(self, place: int, length: int) -> bytes:
        """See ``Spill``."""
        pieces: list[bytes] = []
        with disk.errors(_DOING, self._place):
            while length and self._file >= 0 and (piece := os.pread(self._file, length, place)):
                pieces.append(piece)
                place, length = place + len(piece), length - len(piece)
        if length:
            raise Unavailable(
                f"{self._place or 'the temporary folder'}: what was put aside there is gone", hint="check the disk, then try again"
            )
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def another(self) -> SpillFile:
        """See ``Spill``."""
        return SpillFile(self._folder)
