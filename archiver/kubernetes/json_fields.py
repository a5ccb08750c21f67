"""The few fields of a Kubernetes object, list page or watch line that capture and fold decide by. Everything else is skipped unread.

resourceVersions: since Kubernetes 1.35 decimal numbers that compare within one resource (KEP-5504); servers on etcd always sent such.
A server that sends anything else gets no order from us: ``order`` says 0 and the caller falls back on the order of arrival.
"""

from __future__ import annotations

from typing import Any

import msgspec

from archiver.errors import Corrupt
from archiver.untrusted import Unreadable, UntrustedDecoder, decode_untrusted


class Meta(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Of ``metadata``."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0


class Cause(msgspec.Struct, frozen=True, gc=False):
    """Of a Status: one machine-readable reason."""

    reason: str = ""


class Details(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Of a Status."""

    causes: list[Cause] | None = None
    retry_after_seconds: float = 0.0


class Head(msgspec.Struct, frozen=True, gc=False):
    """Of an object."""

    metadata: Meta = Meta()


class Status(msgspec.Struct, frozen=True, gc=False):
    """The API server's error object: body of a failed request, or of an ERROR line."""

    code: int = 0
    reason: str | None = None
    message: str | None = None
    details: Details | None = None


class Event(msgspec.Struct, frozen=True, gc=False):
    """Of a watch line that is about an object."""

    type: str
    object: Head


class Line(msgspec.Struct, frozen=True):
    """A watch line whose object is kept as it is."""

    type: str
    object: msgspec.Raw


class PageMeta(msgspec.Struct, frozen=True, rename={"resource_version": "resourceVersion", "continue_": "continue"}):
    """Of a list's ``metadata``."""

    resource_version: str = ""
    continue_: str = ""


class Page(msgspec.Struct, frozen=True):
    """One page of a list; items byte for byte as they came."""

    metadata: PageMeta
    items: list[msgspec.Raw] | None = None


OBJECT_BYTES = 256 << 20
"""Of an object, a watch line or a small answer that is read; etcd takes 1.5 MB unless told otherwise."""
PAGE_BYTES = 2 << 30

head = UntrustedDecoder(Head, most=OBJECT_BYTES)
event = UntrustedDecoder(Event, most=OBJECT_BYTES)
line = UntrustedDecoder(Line, most=OBJECT_BYTES)
page = UntrustedDecoder(Page, most=PAGE_BYTES)
status = UntrustedDecoder(Status, most=OBJECT_BYTES)


def object_of(watch_line: bytes) -> bytes:
    """The object of a watch line, byte for byte. ``Corrupt`` when the line is not one."""
    try:
        return bytes(line.decode(watch_line).object)
    except Unreadable as error:
        raise Corrupt(f"journal holds a watch line that cannot be read: {error}") from None


def plain(body: bytes | msgspec.Raw) -> dict[str, Any]:
    """An object's JSON as a dictionary. Raises ``Unreadable``."""
    return decode_untrusted(body, dict[str, Any], most=OBJECT_BYTES)


def document(body: bytes, group: str, version: str, kind: str) -> dict[str, Any]:
    """An object's JSON as a dictionary with ``apiVersion`` and ``kind``, which items of built-in resources come without."""
    return {"apiVersion": f"{group}/{version}" if group else version, "kind": kind} | plain(body)


def order(one: str, other: str) -> int:
    """Negative, zero or positive as ``one`` is older than, equal to or newer than ``other``; 0 too when they do not compare."""
    if one == other or not comparable(one) or not comparable(other):
        return 0
    left, right = (len(one), one), (len(other), other)
    return -1 if left < right else 1


def comparable(version: str) -> bool:
    """Whether ``version`` is a decimal number without leading zeros."""
    return version.isascii() and version.isdigit() and (version[0] != "0" or version == "0")


def same(one: Any, other: Any) -> bool:
    """Equality of JSON values, where ``true`` is not ``1`` as it is in Python, and nothing is not ``null``."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(isinstance(one, bool) == isinstance(other, bool) and one == other)
