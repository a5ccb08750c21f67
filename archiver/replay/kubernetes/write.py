"""Writes that are done once although answers are lost, servers are busy and others write too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from archiver.errors import Unavailable
from archiver.replay.kubernetes import manifests
from archiver.replay.kubernetes.manifests import Manifest

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.kubernetes.api import Answer, Api

BUSY_SECONDS = 120.0
"""How long a server may say that it is busy, or not answer, before the restore gives up."""

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
_UNSURE = (500, 502, 503, 504)
"""The server may have done it: a time-out of etcd answers 500 or 504 after the write."""
_UNSURE_TRIES = 5
_CONFLICTS = 10


class Writes:
    """Every method returns the last answer, whatever its status, and raises ``Unavailable`` when there is none for ``BUSY_SECONDS``."""

    def __init__(self, server: Api, clock: Clock) -> None:
        self._server = server
        self._clock = clock

    async def create(self, path: str, wanted: Manifest) -> Answer:
        """POST. Where an answer was lost and the object is there as it was asked for, the answer is that of reading it."""
        answer, unsure = await self._send("POST", path, wanted)
        if answer.status != 409 or not unsure:
            return answer
        there = await self._get(f"{path}/{wanted['metadata']['name']}")
        return there if there.status == 200 and _same(wanted, there) else answer

    async def replace(self, path: str, wanted: Manifest, live: Manifest) -> Answer:
        """PUT over ``live``, provided that nobody wrote to it since it was read."""
        metadata = live["metadata"]
        body = {**wanted, "metadata": {**wanted["metadata"], "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}}
        place = f"{path}/{metadata['name']}"
        answer, unsure = await self._send("PUT", place, body)
        if answer.status != 409 or not unsure:
            return answer
        there = await self._get(place)
        return there if there.status == 200 and _same(wanted, there) else answer

    async def status(self, path: str, written: Manifest, status: object) -> Answer:
        """PUT of the status subresource of an object just written; ``None``: none. A write of somebody else in between is met with another
        attempt, as long as it is the same object.
        """
        place = f"{path}/{written['metadata']['name']}"
        current = written
        for _ in range(_CONFLICTS):
            body = {key: value for key, value in current.items() if key != "status"} | ({} if status is None else {"status": status})
            answer, _ = await self._send("PUT", f"{place}/status", body)
            if answer.status != 409:
                return answer
            there = await self._get(place)
            if there.status != 200:
                return there
            current = msgspec.json.decode(there.body)
            if manifests.uid(current) != manifests.uid(written):
                return answer
            if current.get("status") == status:
                return there
        return answer

    async def _get(self, path: str) -> Answer:
        answer, _ = await self._send("GET", path, None)
        return answer

    async def _send(self, method: str, path: str, body: Manifest | None) -> tuple[Answer, bool]:
        """The answer, and whether an earlier attempt may have been done."""
        data = None if body is None else msgspec.json.encode(body)
        deadline = self._clock.monotonic() + BUSY_SECONDS
        pause, unsure, tries = _FIRST_PAUSE, False, 0
        while True:
            wait = 0.0
            try:
                answer = await self._server.send(method, path, data)
            except Unavailable:
                if self._clock.monotonic() > deadline:
                    raise
                unsure = True
            else:
                tries += answer.status in _UNSURE
                unsure = unsure or answer.status in _UNSURE
                busy = answer.status == 429 or (answer.status in _UNSURE and tries < _UNSURE_TRIES)
                if not busy or self._clock.monotonic() > deadline:
                    return answer, unsure
                wait = answer.retry_after
            await self._clock.sleep(max(wait, pause * (0.5 + self._clock.random())))
            pause = min(2 * pause, _LONGEST_PAUSE)


def _same(wanted: Manifest, answer: Answer) -> bool:
    """Whether the object is what was asked for: all but status, which is written afterwards."""
    there: Manifest = msgspec.json.decode(answer.body)
    there.pop("status", None)
    plain = {key: value for key, value in wanted.items() if key != "status"}
    return not manifests.differing(plain, there, {owner: owner for owner in manifests.owners(plain)})
