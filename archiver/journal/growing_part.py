"""Rows of COPY text on their way into one compressed part. Pure."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence

from archiver.journal.parts import Part

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class GrowingPart:
    """One part that rows are added to until it is ended."""

    def __init__(self, level: int) -> None:
        """``level``: zstd's."""
        self._compressor = zstd.ZstdCompressor(level=level)
        self._hash = hashlib.sha256()
        self._chunks: list[bytes] = []
        self.rows = 0
        self.raw_size = 0
        """Bytes of the rows."""

    def add(self, rows: Sequence[bytes | memoryview]) -> None:
        """The next rows. Takes long for many of them: call it in a thread."""
        self.add_text(b"".join(rows), len(rows))

    def add_text(self, text: bytes | memoryview, rows: int) -> None:
        """``rows`` whole rows, end to end; as ``add``."""
        self.rows += rows
        self.raw_size += len(text)
        self._keep(self._compressor.compress(text))

    def end(self) -> tuple[Part, bytes]:
        """The part, which has no key yet, and its bytes."""
        self._keep(self._compressor.flush())
        data = b"".join(self._chunks)
        return Part("", self.rows, len(data), self.raw_size, self._hash.hexdigest()), data

    def _keep(self, compressed: bytes) -> None:
        if compressed:
            self._hash.update(compressed)
            self._chunks.append(compressed)
