"""The API server's audit log (``audit.k8s.io/v1``, a JSON document a line) -> the requests in it that may have changed something. Pure.

One that was refused changed nothing; one that failed at the server, or got no answer, may have.
Whoever may send requests chooses much of what stands in a line, but not who they are: ``user`` is what the API server authenticated.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import parse_qs

import msgspec

from archiver.clock import from_text
from archiver.untrusted import Unreadable, decode_untrusted, members

LONGEST_LINE = 16 << 20
"""An object has at most 1.5 MiB, and a line at most two of them beside its names; a list that a deletion answers may be longer."""
_VERBS = {"create": "write", "update": "write", "patch": "write", "delete": "delete", "deletecollection": "delete"}
_API = "audit.k8s.io/"
_EVICTION = "eviction"
"""A subresource of pods: who creates it deletes the pod."""


class Request(msgspec.Struct, frozen=True):
    """One request that the API server may have carried out. Times are microseconds since 1970, by its clock."""

    does: Literal["write", "delete"]
    creates: bool
    """The object was not there before, as far as the answer tells."""
    certain: bool
    """The answer says that it was carried out."""
    resource: str
    """``plural.group``."""
    namespace: str
    name: str
    """Empty: of a collection, or the server chose it."""
    uid: str
    """Of the object, where the answer tells it."""
    version: str
    """resourceVersion of the object afterwards, where the answer tells it."""
    user: str
    received: int
    done: int


class _User(msgspec.Struct):
    username: str = ""


class _Ref(msgspec.Struct):
    resource: str = ""
    namespace: str = ""
    name: str = ""
    apiGroup: str = ""  # noqa: N815 -- as the API calls it
    subresource: str = ""


class _Status(msgspec.Struct):
    code: int = 0


class _Metadata(msgspec.Struct):
    name: str = ""
    uid: str = ""
    resourceVersion: str = ""  # noqa: N815


class _Answer(msgspec.Struct):
    metadata: _Metadata | None = None
    details: _Metadata | None = None
    """Of a Status: what was deleted."""


class _Event(msgspec.Struct):
    stage: str
    verb: str
    user: _User
    requestReceivedTimestamp: str  # noqa: N815
    stageTimestamp: str  # noqa: N815
    apiVersion: str  # noqa: N815
    requestURI: str = ""  # noqa: N815
    impersonatedUser: _User | None = None  # noqa: N815
    objectRef: _Ref | None = None  # noqa: N815
    responseStatus: _Status | None = None  # noqa: N815
    responseObject: _Answer | None = None  # noqa: N815


def request_of(line: bytes) -> Request | None:
    """The request that a line tells of, if it may have changed an object. Raises ``Unreadable`` for what is no event."""
    event = _decoded(line)
    if not event.apiVersion.startswith(_API):
        raise Unreadable("it is of another API")
    ref, status = event.objectRef, event.responseStatus
    if event.stage not in ("ResponseComplete", "Panic") or ref is None or event.verb not in _VERBS:
        return None
    code = status.code if status else 0
    certain = 200 <= code < 300
    if 300 <= code < 500 or _is_dry(event.verb, event.requestURI):
        return None
    try:
        received, done = from_text(event.requestReceivedTimestamp), from_text(event.stageTimestamp)
    except (ValueError, OverflowError):
        raise Unreadable("its times are none") from None
    answer = event.responseObject or _Answer()
    meta, details = answer.metadata or _Metadata(), answer.details or _Metadata()
    acting = event.impersonatedUser
    user = f"{acting.username} (impersonated by {event.user.username})" if acting is not None else event.user.username
    return Request(
        _does(event.verb, ref.subresource),
        creates=not ref.subresource and (code == 201 if certain else True),
        certain=certain,
        resource=f"{ref.resource}.{ref.apiGroup}" if ref.apiGroup else ref.resource,
        namespace=ref.namespace,
        name=ref.name or meta.name,
        uid=meta.uid or details.uid,
        version=meta.resourceVersion,
        user=user,
        received=received,
        done=done,
    )


def _does(verb: str, subresource: str) -> Literal["write", "delete"]:
    """What a verb does to the object itself: what is deleted through a proxy, say, is another thing."""
    if subresource:
        return "delete" if (verb, subresource) == ("create", _EVICTION) else "write"
    return "delete" if _VERBS[verb] == "delete" else "write"


def _is_dry(verb: str, uri: str) -> bool:
    """Whether the API server took it for a dry run. Anybody may write the words elsewhere in a URL: whatever is not plain counts.

    Of a deletion a URL proves nothing: the server looks only into the body where there is one.
    """
    if _VERBS[verb] == "delete":
        return False
    query = uri.partition("?")[2]
    try:
        return parse_qs(query, keep_blank_values=True, errors="strict", max_num_fields=1000).get("dryRun") == ["All"]
    except ValueError:
        return False


def _decoded(line: bytes) -> _Event:
    try:
        return decode_untrusted(line, _Event, most=LONGEST_LINE)
    except Unreadable:
        # What a client sent may nest deeper than a decoder goes: what the server says beside it does not.
        parts = members(line)
        answer = parts.pop("responseObject", b"")
        parts.pop("requestObject", None)
        if answer.startswith(b"{"):
            inside = {key: value for key, value in members(answer).items() if key in ("metadata", "details")}
            parts["responseObject"] = _object(inside)
        return decode_untrusted(_object(parts), _Event, most=LONGEST_LINE)


def _object(parts: dict[str, bytes]) -> bytes:
    return b"{" + b",".join(msgspec.json.encode(key) + b":" + value for key, value in parts.items()) + b"}"
