"""Requests to a server that may be busy, restarting, or behind a network that loses answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from archiver.errors import Unavailable
from archiver.kubernetes import json_fields as kj
from archiver.kubernetes.answer import TooLarge, not_an_api_server
from archiver.kubernetes.list_pages import list_page
from archiver.kubernetes.page_size import SINGLE_BYTES
from archiver.untrusted import Unreadable
from archiver.waiting import GrowingPause

if TYPE_CHECKING:
    from collections.abc import Mapping

    from archiver.clock import Clock
    from archiver.kubernetes.answer import Answer
    from archiver.kubernetes.api import Api
    from archiver.kubernetes.records import Resource
    from archiver.replay.kubernetes.manifests import Manifest

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
_UNSURE = (500, 502, 503, 504)
"""The server may have done it: a time-out of etcd answers 500 or 504 after the write."""
_UNSURE_TRIES = 5


class PatientApi:
    """An API server that is asked again until it answers: 429 and silence for ``seconds``, 5xx five times."""

    def __init__(self, api: Api, clock: Clock, seconds: float) -> None:
        self._api = api
        self._clock = clock
        self._seconds = seconds
        self.server = api.server
        self.authority = api.authority

    async def get(self, path: str, params: Mapping[str, str] | None = None, *, most: int = SINGLE_BYTES) -> Answer:
        """One GET: its last answer, whatever the status. ``Unavailable`` when there is none in time, ``TooLarge`` when it has more than
        ``most`` bytes.
        """
        answer, _ = await self._ask("GET", path, None, params, most)
        return answer

    async def page(self, path: str, params: Mapping[str, str] | None = None, *, most: int = SINGLE_BYTES) -> tuple[kj.Page | None, Answer]:
        """``get`` of a list of the collection at ``path``, and its page; ``None`` where the answer refuses it."""
        answer = await self.get(path, params, most=most)
        try:
            return list_page(answer.body, path) if answer.status == 200 else None, answer
        except Unreadable:
            raise not_an_api_server(self.server) from None

    def manifest(self, body: bytes | msgspec.Raw) -> Manifest:
        """The object that ``body``, or a part of an answer, is. ``Unavailable`` where it is none."""
        try:
            found: Manifest = kj.plain(body)
        except Unreadable:
            raise not_an_api_server(self.server) from None
        if not isinstance(found.get("metadata"), dict):
            raise not_an_api_server(self.server)
        return found

    def document(self, item: msgspec.Raw, resource: Resource) -> Manifest:
        """An item of a list of ``resource``, with the ``apiVersion`` and ``kind`` that items come without; otherwise as ``manifest``."""
        version = f"{resource.group}/{resource.version}" if resource.group else resource.version
        found: Manifest = {"apiVersion": version, "kind": resource.kind} | self.manifest(item)
        if not found["metadata"].get("name"):
            raise not_an_api_server(self.server)
        return found

    async def send(self, method: str, path: str, body: Manifest, params: Mapping[str, str] | None = None) -> tuple[Answer, bool]:
        """One write: its last answer, and whether an earlier attempt, whose answer was lost, may have been done."""
        return await self._ask(method, path, msgspec.json.encode(body), params)

    async def _ask(
        self, method: str, path: str, body: bytes | None, params: Mapping[str, str] | None, most: int = SINGLE_BYTES
    ) -> tuple[Answer, bool]:
        deadline = self._clock.monotonic() + self._seconds
        pause = GrowingPause(_FIRST_PAUSE, _LONGEST_PAUSE, least=0.5, most=1.5)
        unsure, tries = False, 0
        while True:
            wait = 0.0
            try:
                answer = await self._api.send(method, path, body, params, most=most)
            except TooLarge:
                raise
            except Unavailable:
                if self._clock.monotonic() > deadline:
                    raise
                unsure = True
            else:
                tries += answer.status in _UNSURE
                again = answer.status == 429 or (answer.status in _UNSURE and tries < _UNSURE_TRIES)
                if not again or self._clock.monotonic() > deadline:
                    return answer, unsure
                unsure = unsure or answer.status in _UNSURE
                wait = answer.retry_after
            await self._clock.sleep(max(wait, pause.next(self._clock.random())))
