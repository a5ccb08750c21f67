"""Rows on their way into a part."""

from __future__ import annotations

import hashlib
import sys

from archiver.journal.growing_part import GrowingPart

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def test_a_part_says_what_it_holds() -> None:
    """Rows, sizes and hash are those of what is stored; opened, it is the rows end to end."""
    growing = GrowingPart(1)
    growing.add([b"1\tone\n", memoryview(b"2\ttwo\n")])
    growing.add([b"3\tthree\n"])
    assert (growing.rows, growing.raw_size) == (3, 20)
    part, data = growing.end()
    assert (part.key, part.rows, part.size, part.raw_size) == ("", 3, len(data), 20)
    assert part.sha256 == hashlib.sha256(data).hexdigest()
    assert zstd.decompress(data) == b"1\tone\n2\ttwo\n3\tthree\n"
