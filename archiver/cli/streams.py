"""Standard output and error that cannot end what runs: whoever reads them may go away, the disk they are written to may be full."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING

from archiver.errors import Unavailable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def install() -> None:
    """Put both in the place of the interpreter's own. Called once, before anything keeps a reference to those."""
    sys.stdout = _text(_Answers(1, "wb", closefd=False), sys.stdout.encoding, "strict")
    sys.stderr = _text(_Messages(2, "wb", closefd=False), sys.stderr.encoding, "backslashreplace")


def flush() -> None:
    """Write what is buffered. Raises ``Unavailable`` for an answer that cannot be written."""
    sys.stdout.flush()
    sys.stderr.flush()


def is_read() -> bool:
    """Whether anybody still reads standard output: who has seen enough went away."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return not (isinstance(raw, _Answers) and raw.failed)


class _Messages(io.FileIO):
    """A message that cannot be written is lost: capture goes on when its log stands on a full disk."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data) or len(memoryview(data))
        except OSError:
            return len(memoryview(data))


class _Answers(io.FileIO):
    """An answer that cannot be written is an error, unless its reader has seen enough (``archiver log | head``)."""

    failed = False

    def write(self, data: ReadableBuffer, /) -> int:
        whole = len(memoryview(data))
        if self.failed:
            return whole
        try:
            return super().write(data)
        except OSError as error:
            self.failed = True
            if error.errno == errno.EPIPE:
                return whole
            text = f"standard output cannot be written: {os.strerror(error.errno or 0)}"
            raise Unavailable(text, hint="the answer is not complete: free space where it goes, and ask again") from None


def _text(raw: io.FileIO, encoding: str, errors: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding, errors=errors, line_buffering=raw.isatty() or raw.fileno() == 2)
