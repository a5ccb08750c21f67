"""Reading JSON that somebody else wrote: messages in the stream, objects and answers of an API server, requests to the web port.

Whoever may write to a source, or reach the port, chooses these bytes. So each is read through here: a bound on its size, and one error
for whatever is wrong with it. ``tests/test_architecture.py`` finds places that read such bytes in another way.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Hashable, Iterator
from itertools import accumulate
from typing import Any, Generic, TypeVar, cast

import msgspec

T = TypeVar("T")

_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_STRINGS = re.compile(_STRING, re.DOTALL)
_MARKS = re.compile(_STRING + rb"|[{}\[\]]", re.DOTALL)
_VALUE = re.compile(_STRING + rb"|[^\s{}\[\],:\"]+", re.DOTALL)
_SPACE = re.compile(rb"\s*")
_NO_BRACKET = bytes(sorted(set(range(256)) - set(b"{}[]")))
_STEPS = {ord("{"): 1, ord("["): 1, ord("}"): -1, ord("]"): -1}


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
        # What stands before the place may quote a value, and where all of it is meant there is no place.
        _, at, place = str(error).rpartition(" - at ")
        raise Unreadable(f"it has another form{at}{place if at else ''}") from None
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


def depth(body: bytes) -> int:
    """How deep objects and lists nest in JSON; more than that where brackets do not match."""
    if body.count(b"{") + body.count(b"[") <= 1:
        return 1
    brackets = _STRINGS.sub(b"", body).translate(None, _NO_BRACKET)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)


def has_more_values(body: bytes, most: int) -> bool:
    """Whether JSON has more than ``most`` strings, brackets that open and commas: each costs whoever steps over it."""
    if body.count(b"{") + body.count(b"[") + body.count(b",") + body.count(b'"') // 2 <= most:
        return False
    text, strings = _STRINGS.subn(b"", body)
    return strings + text.count(b"{") + text.count(b"[") + text.count(b",") > most


def members(body: bytes) -> dict[str, bytes]:
    """The members of a JSON object, each as its own bytes, however deep those nest. Raises ``Unreadable`` and nothing else."""
    return {member.key: body[member.value : member.end] for member in member_places(body)}


def elements(body: bytes) -> list[bytes]:
    """The elements of a JSON list, as ``members``."""
    return [body[at:end] for at, end in element_places(body)]


class Member(msgspec.Struct, frozen=True, gc=False):
    """Where a member of a JSON object stands in its bytes."""

    key: str
    start: int
    """Of the key."""
    value: int
    end: int


def member_places(body: bytes) -> Iterator[Member]:
    """The members of a JSON object in their order, those that stand twice, too. Raises ``Unreadable`` and nothing else."""
    places = _places(body, b"{", b"}")
    for at, end in places:
        if body[at : at + 1] != b'"':
            raise Unreadable("it is not JSON")
        value, behind = next(places)
        yield Member(decode_untrusted(body[at:end], str, most=end - at), at, value, behind)


def element_places(body: bytes) -> Iterator[tuple[int, int]]:
    """Where the elements of a JSON list begin and end. Raises ``Unreadable`` and nothing else."""
    return _places(body, b"[", b"]")


def _places(body: bytes, opening: bytes, closing: bytes) -> Iterator[tuple[int, int]]:
    """Where the values between two brackets stand, of an object each key before its value. ``Unreadable`` where the form is another."""
    at = _space(body, 0)
    if body[at : at + 1] != opening:
        raise Unreadable("it has another form")
    at = _space(body, at + 1)
    if body[at : at + 1] == closing:
        at += 1
    else:
        while True:
            end = _end(body, at)
            yield at, end
            at = _space(body, end)
            if opening == b"{":
                if body[at : at + 1] != b":":
                    raise Unreadable("it is not JSON")
                at = _space(body, at + 1)
                end = _end(body, at)
                yield at, end
                at = _space(body, end)
            sign, at = body[at : at + 1], _space(body, at + 1)
            if sign == closing:
                break
            if sign != b",":
                raise Unreadable("it is not JSON")
    if _space(body, at) != len(body):
        raise Unreadable("it is not JSON")


def _space(body: bytes, at: int) -> int:
    found = _SPACE.match(body, at)
    return found.end() if found else at


def _end(body: bytes, at: int) -> int:
    """Where the value that begins at ``at`` ends."""
    if body[at : at + 1] not in (b"{", b"["):
        found = _VALUE.match(body, at)
        if found is None:
            raise Unreadable("it is not JSON")
        return found.end()
    open_brackets = 0
    for mark in _MARKS.finditer(body, at):
        open_brackets += _STEPS.get(body[mark.start()], 0)
        if not open_brackets:
            return mark.end()
    raise Unreadable("Input data was truncated")
