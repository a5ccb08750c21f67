"""Reading JSON that somebody else wrote: messages in the stream, objects and answers of an API server, requests to the web port.

Whoever may write to a source, or reach the port, chooses these bytes. So each is read through here: a bound on its size, and one error
for whatever is wrong with it. ``tests/test_architecture.py`` finds places that read such bytes in another way.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable
from typing import Any, Generic, TypeVar, cast

import msgspec

T = TypeVar("T")


class Unreadable(msgspec.DecodeError):
    """The bytes are too large, nested too deeply, not UTF-8, not JSON, or not of the form asked for. The message has none of them."""


def decode_untrusted(body: bytes | memoryview | msgspec.Raw, of: type[T], *, most: int, strict: bool = True) -> T:
    """``body`` as an ``of``. ``most``: bytes that it may have. ``strict`` as msgspec has it. Raises ``Unreadable`` and nothing else."""
    size = memoryview(body).nbytes
    if size > most:
        raise Unreadable(f"{size} bytes are more than the {most} that are read")
    try:
        found: T = _decoder(cast(Hashable, of), strict).decode(body)
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None
    except UnicodeError:
        raise Unreadable("it is not UTF-8") from None
    except msgspec.ValidationError as error:
        # What follows the place may quote a value.
        raise Unreadable("it has another form" + "".join(str(error).rpartition(" - at ")[1:])) from None
    except msgspec.MsgspecError as error:
        raise Unreadable(str(error)) from None
    return found


class UntrustedDecoder(Generic[T]):
    """``decode_untrusted`` of one form and bound."""

    def __init__(self, of: type[T], *, most: int) -> None:
        self._of, self._most = of, most

    def decode(self, body: bytes | memoryview | msgspec.Raw) -> T:
        """Raises ``Unreadable`` and nothing else."""
        return decode_untrusted(body, self._of, most=self._most)


@functools.cache
def _decoder(of: Hashable, strict: bool) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(cast("type[Any]", of), strict=strict)
