"""The few fields of a Kubernetes object, list page or watch line that capture and fold decide by. Everything else is skipped unread.

resourceVersions: since Kubernetes 1.35 decimal numbers that compare within one resource (KEP-5504); servers on etcd always sent such.
A server that sends anything else gets no order from us: ``order`` says 0 and the caller falls back on the order of arrival.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import msgspec

from archiver.errors import Corrupt
from archiver.kubernetes.redaction_mark import REDACTED
from archiver.untrusted import Unreadable, UntrustedDecoder, decode_untrusted, depth, elements, members

T = TypeVar("T")


class Meta(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Of ``metadata``."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    archiver_redacted: msgspec.Raw = msgspec.Raw()
    """The mark of a captured object of which fields were cut (``redaction_mark``)."""


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


class Page(msgspec.Struct, frozen=True, rename={"api_version": "apiVersion"}):
    """One page of a list; items byte for byte as they came."""

    metadata: PageMeta
    items: list[msgspec.Raw] | None = None
    api_version: str = ""
    kind: str = ""


OBJECT_BYTES = 256 << 20
"""Of an object, a watch line or a small answer that is read; etcd takes 1.5 MB unless told otherwise."""
PAGE_BYTES = 2 << 30

PLAIN_DEPTH = 100
"""Values that nest deeper than this stay JSON, as ``msgspec.Raw``: nothing that compares or writes them may run out of stack."""

_KEPT_LEVELS = 4
"""Of an object that nests deeper, so many levels are read all the same: ``metadata.managedFields[0].manager``."""


class Anything(UntrustedDecoder[T]):
    """``UntrustedDecoder`` of a form that one object, or what holds one, may fill, and that nothing else in that object can stop.

    Whoever may write an object chooses how deep it nests; the API server takes ten times what a decoder takes. What is no API server of
    Kubernetes may send texts and numbers that are none. Neither costs the objects beside it.
    """

    def __init__(self, of: type[T], *, most: int, taken_apart: Callable[[dict[str, bytes]], T]) -> None:
        """``taken_apart``: the form from its members, for bytes that a decoder does not take."""
        super().__init__(of, most=most)
        self._taken_apart = taken_apart

    def decode(self, body: bytes | memoryview | msgspec.Raw) -> T:
        """Raises ``Unreadable`` and nothing else."""
        try:
            return super().decode(body)
        except Unreadable:
            whole = bytes(body)
            if len(whole) > self._most:
                raise
            return self._taken_apart(members(whole))


def _text(found: Mapping[str, bytes], name: str) -> str:
    return _value(found, name, str) or ""


def _value(found: Mapping[str, bytes], name: str, of: type[T]) -> T | None:
    """``None`` for what is not there, or is null, which says as much."""
    value = found.get(name, b"null")
    return None if value == b"null" else decode_untrusted(value, of, most=OBJECT_BYTES)


def _meta(found: Mapping[str, bytes]) -> Meta:
    name, namespace, uid = _text(found, "name"), _text(found, "namespace"), _text(found, "uid")
    mark = msgspec.Raw(found.get(REDACTED, b""))
    return Meta(name, namespace, uid, _text(found, "resourceVersion"), _value(found, "generation", int) or 0, mark)


def _head(found: Mapping[str, bytes]) -> Head:
    return Head(_meta(members(found["metadata"]))) if "metadata" in found else Head()


def _object(found: Mapping[str, bytes]) -> bytes:
    if not {"type", "object"} <= found.keys():
        raise Unreadable("it has another form")
    return found["object"]


def _page(found: Mapping[str, bytes]) -> Page:
    if "metadata" not in found:
        raise Unreadable("it has another form")
    items = found.get("items", b"null")
    metadata = decode_untrusted(found["metadata"], PageMeta, most=OBJECT_BYTES)
    listed = None if items == b"null" else [msgspec.Raw(item) for item in elements(items)]
    return Page(metadata, listed, _text(found, "apiVersion"), _text(found, "kind"))


head = Anything(Head, most=OBJECT_BYTES, taken_apart=_head)
event = Anything(Event, most=OBJECT_BYTES, taken_apart=lambda found: Event(_text(found, "type"), _head(members(_object(found)))))
line = Anything(Line, most=OBJECT_BYTES, taken_apart=lambda found: Line(_text(found, "type"), msgspec.Raw(_object(found))))
page = Anything(Page, most=PAGE_BYTES, taken_apart=_page)
status = UntrustedDecoder(Status, most=OBJECT_BYTES)


def listed(item: bytes | msgspec.Raw) -> Meta:
    """Of an object of a list. Raises ``Unreadable`` for one that does not say which object it is, and of which version."""
    meta = head.decode(item).metadata
    if not meta.name or not meta.resource_version:
        raise Unreadable("one of its objects has no name or no resourceVersion")
    return meta


def object_of(watch_line: bytes) -> bytes:
    """The object of a watch line, byte for byte. ``Corrupt`` when the line is not one."""
    try:
        return bytes(line.decode(watch_line).object)
    except Unreadable as error:
        raise Corrupt(f"journal holds a watch line that cannot be read: {error}") from None


def plain(body: bytes | msgspec.Raw) -> dict[str, Any]:
    """An object as a dictionary, in which values that nest deeper than ``PLAIN_DEPTH`` are ``msgspec.Raw``. Raises ``Unreadable``."""
    whole = bytes(body)
    if _shallow(whole):
        return decode_untrusted(whole, dict[str, Any], most=OBJECT_BYTES)
    return {key: _opened(value, _KEPT_LEVELS - 1) for key, value in members(whole).items()}


def _shallow(body: bytes) -> bool:
    return body.count(b"{") + body.count(b"[") <= PLAIN_DEPTH or depth(body) <= PLAIN_DEPTH


def _opened(body: bytes, levels: int) -> Any:
    if _shallow(body):
        return decode_untrusted(body, cast("type[Any]", Any), most=OBJECT_BYTES)
    if not levels:
        return msgspec.Raw(body)
    if body.lstrip().startswith(b"["):
        return [_opened(element, levels - 1) for element in elements(body)]
    return {key: _opened(value, levels - 1) for key, value in members(body).items()}


def document(body: bytes, group: str, version: str, kind: str) -> dict[str, Any]:
    """An object's JSON as a dictionary with ``apiVersion`` and ``kind``, which items of built-in resources come without."""
    return {"apiVersion": f"{group}/{version}" if group else version, "kind": kind} | plain(body)


def readable_document(body: bytes, group: str, version: str, kind: str) -> tuple[dict[str, Any], str]:
    """As ``document``, and why it is not all: of an object that a decoder does not take whole, only what it is called is there."""
    try:
        return document(body, group, version, kind), ""
    except Unreadable as error:
        meta = head.decode(body).metadata
        named = {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid, "resourceVersion": meta.resource_version}
        return {"apiVersion": f"{group}/{version}" if group else version, "kind": kind, "metadata": named}, str(error)


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
