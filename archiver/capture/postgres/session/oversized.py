"""Messages of the stream that are too large to be received, noticed before their bytes arrive.

libpq gives out whole messages only, and takes memory for one as soon as it has read how long it is: one that anybody at the source made as
large as 1 GB. Nothing in libpq bounds that, and nothing tells of it. But memory that was asked for and not yet written to is seen from
outside: what the process may write to grows, and what it has written to does not.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable
from typing import NamedTuple

from archiver.errors import Unavailable

NOISE_BYTES = 24 << 20
"""What other threads may ask for at the same moment and not yet have written to: stacks, mostly."""
LOOKS, LOOK_SECONDS = 4, 0.01
"""Memory of other threads is written to soon; that of a message fills only when we read on."""
_BUFFER_BYTES = 16_384
"""libpq's buffer at first. It doubles until a message fits."""


class Transaction(NamedTuple):
    """One that was not received whole."""

    xid: int
    commit: int
    """LSN of its commit record, as its Begin says."""


class Oversized(Unavailable):
    """A message is larger than what is received of one, or than what the server can send. It will be, as often as it is asked for."""

    begun: Transaction | None = None
    """Whose it is, where it is known: it came with a transaction that was not streamed before its commit."""
    proven = False
    """Whether the stream was known by then to continue the journal."""


class Memory(NamedTuple):
    """Of this process alone, bytes."""

    writable: int
    written: int

    def unwritten_since(self, before: Memory) -> int:
        """What was asked for since then and is not yet written to. Memory that was given back and may be written to again is none."""
        grown = self.writable - before.writable
        return min(grown, grown - (self.written - before.written))


def memory_reader() -> Callable[[], Memory]:
    """What tells how much memory this process has now; always the same where the system does not tell."""
    try:
        descriptor = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return lambda: Memory(0, 0)

    def read() -> Memory:
        _, resident, shared, _, _, data, _ = map(int, os.pread(descriptor, 200, 0).split())
        return Memory(data * mmap.PAGESIZE, (resident - shared) * mmap.PAGESIZE)

    return read


class BufferWatch:
    """Notices that libpq has made its buffer larger than any message may be. It takes messages up to the next power of two."""

    def __init__(self, largest: int, memory: Callable[[], Memory], sleep: Callable[[float], None] = time.sleep) -> None:
        """``largest``: bytes that a message may have at least. ``memory`` as ``memory_reader`` gives it."""
        self._most = _doubled(largest)
        self._memory = memory
        self._sleep = sleep
        self._before = memory()
        self._buffer = _BUFFER_BYTES

    @property
    def most(self) -> int:
        """Bytes of the largest message that is received."""
        return self._most

    def received(self, size: int) -> None:
        """A message of ``size`` bytes came: the buffer had room for it."""
        self._buffer = max(self._buffer, _doubled(size))

    def begin(self) -> None:
        """Bytes are about to be read."""
        self._before = self._memory()

    def exceeded(self) -> bool:
        """Whether the message of which libpq has no more than the beginning is too large.

        To be asked whenever it has no whole one, right after bytes were read.
        """
        for _ in range(LOOKS):
            if self._buffer + self._memory().unwritten_since(self._before) <= self._most + NOISE_BYTES:
                return False
            self._sleep(LOOK_SECONDS)
        return True


def _doubled(size: int) -> int:
    return max(_BUFFER_BYTES, 1 << (size - 1).bit_length())
