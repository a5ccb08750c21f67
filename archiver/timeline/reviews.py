"""Who asks, and what they may read: the API server's own answers, for a short while.

    a bearer token -> TokenReview -> a user -> SubjectAccessReview for each thing that would be shown

Whatever is no clear yes is a no, and without an answer there is none here either: ``Unavailable``.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec
import structlog

from archiver.errors import ArchiverError, Unavailable
from archiver.untrusted import Unreadable, decode_untrusted

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.kubernetes.api import Api

GROUP = "archiver.proompteng.ai"
SOURCES = "sources"
"""What is asked about a source that is none of this cluster: ``get`` of ``sources.archiver.proompteng.ai`` of that name. No such resource
needs to be there for a right to it."""
KEPT_SECONDS = 10.0
"""An answer of the API server counts so long."""
NOBODY_SECONDS = 5.0
"""And so long that a token is nobody's."""
MOST_TOKENS = 1000
"""Those of somebody, and as many that are nobody's."""
MOST_RIGHTS = 20_000
"""Answers that are kept; the eldest go first."""
_SECONDS = 5.0
_AT_ONCE = 8
"""Questions about rights; others wait their turn."""
_TOKENS_AT_ONCE = 4
"""Questions about tokens that were somebody's before, and as many about others: whoever sends made-up ones waits with their like."""
_MOST_BYTES = 1 << 17
"""Of an answer: a user's groups among them."""
_LONGEST_TOKEN = 7000
_REVIEW = "/apis/authentication.k8s.io/v1/tokenreviews"
_ACCESS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_log = structlog.get_logger()
_V = TypeVar("_V")


class NotTold(Unavailable):
    """The API server does not say who somebody is, or what they may read."""


class User(msgspec.Struct, frozen=True):
    """Whoever a token is of."""

    username: str = ""
    uid: str = ""
    groups: list[str] = []
    extra: dict[str, list[str]] = {}


class _Known(msgspec.Struct, frozen=True):
    authenticated: bool = False
    user: User = User()
    audiences: list[str] = []


class _TokenReview(msgspec.Struct, frozen=True):
    status: _Known = _Known()


class _Access(msgspec.Struct, frozen=True):
    allowed: bool = False
    denied: bool = False


class _AccessReview(msgspec.Struct, frozen=True):
    status: _Access = _Access()


class Right(msgspec.Struct, frozen=True, omit_defaults=True):
    """``resourceAttributes`` of a review."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""


class _Kept(Generic[_V]):
    """Answers, each for a while and so many at most."""

    def __init__(self, clock: Clock, most: int, seconds: float = KEPT_SECONDS) -> None:
        self._clock, self._most, self._seconds = clock, most, seconds
        self._answers: OrderedDict[object, tuple[float, _V]] = OrderedDict()

    def get(self, key: object) -> tuple[_V] | None:
        found = self._answers.get(key)
        return (found[1],) if found is not None and found[0] > self._clock.monotonic() else None

    def had(self, key: object) -> bool:
        """Whether there was an answer, which may count no longer."""
        return key in self._answers

    def drop(self, key: object) -> None:
        self._answers.pop(key, None)

    def put(self, key: object, value: _V) -> None:
        self._answers[key] = (self._clock.monotonic() + self._seconds, value)
        self._answers.move_to_end(key)
        while len(self._answers) > self._most:
            self._answers.popitem(last=False)


class Reviews:
    """Asks one API server."""

    def __init__(self, api: Api, clock: Clock, *, namespace: str, audience: str = "") -> None:
        """``namespace``: in which rights to sources are granted. ``audience``: for which tokens must be made; empty: for the API server."""
        self.namespace = namespace
        self._api, self._audience = api, audience
        self._users: _Kept[User] = _Kept(clock, MOST_TOKENS)
        # Apart: those that are made up must not push out those of somebody.
        self._nobody: _Kept[None] = _Kept(clock, MOST_TOKENS, NOBODY_SECONDS)
        self._rights: _Kept[bool] = _Kept(clock, MOST_RIGHTS)
        self._gate, self._known, self._strangers = (asyncio.Semaphore(most) for most in (_AT_ONCE, _TOKENS_AT_ONCE, _TOKENS_AT_ONCE))

    async def user(self, token: str) -> User | None:
        """Whose token it is; ``None``: nobody's. ``Unavailable`` when the API server does not tell."""
        if not token or len(token) > _LONGEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
            return None
        key = hashlib.sha256(token.encode()).digest()
        if (known := self._users.get(key) or self._nobody.get(key)) is not None:
            return known[0]
        async with self._known if self._users.had(key) else self._strangers:
            if (known := self._users.get(key) or self._nobody.get(key)) is not None:
                return known[0]
            spec = {"token": token, **({"audiences": [self._audience]} if self._audience else {})}
            status = (await self._ask(_REVIEW, "TokenReview", "authentication.k8s.io/v1", spec, _TokenReview)).status
            # An API server that knows no audiences would take any token of its own.
            meant = not self._audience or self._audience in status.audiences
            found = status.user if status.authenticated and status.user.username and meant else None
            if found is None:
                self._users.drop(key)
                self._nobody.put(key, None)
            else:
                self._users.put(key, found)
            return found

    async def may(self, user: User, right: Right) -> bool:
        """Whether RBAC, or whatever decides there, lets ``user`` do that. ``Unavailable`` when the API server does not tell."""
        key = (hashlib.sha256(msgspec.json.encode(user)).digest(), right)
        if (known := self._rights.get(key)) is not None:
            return known[0]
        async with self._gate:
            if (known := self._rights.get(key)) is not None:
                return known[0]
            who = {"user": user.username, "uid": user.uid, "groups": user.groups, "extra": user.extra}
            spec = {**who, "resourceAttributes": msgspec.to_builtins(right)}
            status = (await self._ask(_ACCESS, "SubjectAccessReview", "authorization.k8s.io/v1", spec, _AccessReview)).status
            allowed = status.allowed and not status.denied
            self._rights.put(key, allowed)
            return allowed

    async def _ask(self, path: str, kind: str, version: str, spec: Mapping[str, object], of: type[_V]) -> _V:
        body = msgspec.json.encode({"apiVersion": version, "kind": kind, "spec": spec})
        try:
            answer = await self._api.send("POST", path, body, seconds=_SECONDS, most=_MOST_BYTES)
            if answer.status not in (200, 201):
                raise Unavailable(f"the API server answers {answer.status} to a {kind}")
            return decode_untrusted(answer.body, of, most=_MOST_BYTES)
        except Unreadable as error:
            reason = f"the API server's answer to a {kind} cannot be read: {error}"
        except ArchiverError as error:
            reason = error.message
        # Whoever asks learns that nobody answered; why, the log.
        _log.warning("timeline_rights_not_known", kind=kind, reason=reason)
        raise NotTold("the API server does not tell who may read what", hint="nothing is shown until it does; try again")
