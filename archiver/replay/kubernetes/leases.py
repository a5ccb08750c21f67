"""Pausing controllers: hold the Lease by which they elect their leader, for as long as a restore takes.

As client-go's leader election and its like do it: a leader renews its Lease every few seconds and gives up when it cannot for a time
shorter than ``leaseDurationSeconds``; candidates leave a Lease alone that somebody renews, and take one at once whose holder is empty.
So: write another holder into it, wait ``leaseDurationSeconds``, renew meanwhile, and empty the holder at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog

from archiver.clock import from_text, to_text
from archiver.errors import ArchiverError, Invalid, Refused, Unavailable
from archiver.kubernetes.url_paths import member, segment
from archiver.replay.kubernetes.patient_api import PatientApi
from archiver.replay.kubernetes.target_objects import told

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.kubernetes.answer import Answer
    from archiver.kubernetes.api import Api

_PREFIX = "archiver-restore-"
_NEW_SECONDS = 15
"""``leaseDurationSeconds`` of a Lease that was not there: client-go's default."""
_TAKES = 20
_PLAN_SECONDS = 10.0

_log = structlog.get_logger()


@asynccontextmanager
async def hold_leases(api: Api, names: Sequence[str], clock: Clock) -> AsyncIterator[None]:
    """Hold the Leases ``namespace/name`` while the context lasts; inside, their controllers have stopped acting.

    Entering takes as long as the longest ``leaseDurationSeconds``. When one is lost on the way (somebody else takes it, or it cannot be
    renewed in time), what runs inside is cancelled and ``Unavailable`` raised. Leaving gives them back, whatever happened inside; a
    Lease that was not there is deleted. ``Invalid`` for a wrong name or missing rights, ``Refused`` when another restore holds it.
    """
    leases = [_Lease(api, name, clock) for name in names]
    taken: list[_Lease] = []
    try:
        try:
            async with asyncio.TaskGroup() as group:
                for lease in leases:
                    taken.append(lease)
                    await lease.take()
                renewing = [group.create_task(lease.renew(), name=f"renew {lease.name}") for lease in leases]
                wait = max((lease.wait for lease in leases), default=0.0)
                if wait:
                    _log.info("leases_taken", leases=list(names), waiting_seconds=wait)
                    await clock.sleep(wait)
                yield
                for task in renewing:
                    task.cancel()
        except BaseExceptionGroup as several:
            raise next((error for error in several.exceptions if isinstance(error, ArchiverError)), several.exceptions[0]) from None
    finally:
        for lease in taken:
            await lease.give_back()


class _Lease:
    """One Lease, from taking it to giving it back."""

    def __init__(self, api: Api, name: str, clock: Clock) -> None:
        self.name = name
        namespace, _, short = name.partition("/")
        if not namespace or not short or "/" in short:
            raise Invalid(f"{name!r} does not name a lease", hint="write namespace/name, for example agents/agents-controller-leader")
        self.wait = 0.0
        """How long the leader it was taken from may still act."""
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{segment(namespace)}/leases"
        self._path = member(self._collection, short)
        self._short = short
        self._clock = clock
        self._server = PatientApi(api, clock, _PLAN_SECONDS)
        self._identity = f"{_PREFIX}{clock.unique()}"
        self._duration = _NEW_SECONDS
        self._ahead = 0
        self._created = False
        self._document: dict[str, Any] = {}

    async def take(self) -> None:
        """Become its holder. ``wait`` says how long the old one may still act."""
        for _ in range(_TAKES):
            answer = await self._server.get(self._path)
            if answer.status == 404:
                body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": self._short}, "spec": self._spec(0)}
                answer, _ = await self._server.send("POST", self._collection, body)
                self._created = answer.status == 201
            elif answer.status == 200:
                answer = await self._take_from(self._server.manifest(answer.body))
            if answer.status in (200, 201):
                self._document = self._server.manifest(answer.body)
                _log.info("lease_taken", lease=self.name, identity=self._identity)
                return
            if answer.status != 409:
                raise Invalid(
                    f"lease {self.name} cannot be taken: {told(answer)}", hint="the user needs get, create and update for leases there"
                )
        raise Unavailable(f"lease {self.name} is written to all the time", hint="scale the controller to 0 instead")

    async def _take_from(self, document: dict[str, Any]) -> Any:
        spec = document.get("spec") or {}
        holder = str(spec.get("holderIdentity") or "").strip()
        self._duration = max(1, int(spec.get("leaseDurationSeconds") or _NEW_SECONDS))
        renewed = from_text(str(spec["renewTime"])) if spec.get("renewTime") else 0
        # Some candidates compare the renewal with their own clock: never write an older one.
        self._ahead = max(0, renewed - self._clock.now())
        fresh = self._clock.now() - renewed < self._duration * 1_000_000
        if holder.startswith(_PREFIX) and holder != self._identity and fresh:
            raise Refused(f"another restore holds lease {self.name}", hint="wait for its end")
        transitions = int(spec.get("leaseTransitions") or 0) + 1
        answer, _ = await self._server.send("PUT", self._path, {**document, "spec": {**spec, **self._spec(transitions)}})
        # An empty holder has nobody who must give up. Where an answer was lost, the old one is known from the attempt before.
        if holder and holder != self._identity:
            self.wait = float(self._duration)
        return answer

    def _spec(self, transitions: int) -> dict[str, Any]:
        now = to_text(self._clock.now() + self._ahead)
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._duration,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }

    async def renew(self) -> None:
        """Renew three times within its duration, until cancelled. ``Unavailable`` when it is lost."""
        renewed = self._clock.monotonic()
        while True:
            await self._clock.sleep(self._duration / 3)
            try:
                async with asyncio.timeout(max(0.5, self._duration * 0.8 - (self._clock.monotonic() - renewed))):
                    await self._renew_once()
            except _LostLease:
                raise
            except (TimeoutError, Unavailable):
                if self._clock.monotonic() - renewed > self._duration * 0.7:
                    raise Unavailable(
                        f"lease {self.name} could not be renewed in time", hint="the restore stopped: run it again with --overwrite"
                    ) from None
            else:
                renewed = self._clock.monotonic()

    async def _renew_once(self) -> None:
        for _ in range(_TAKES):
            spec = {**self._document["spec"], "renewTime": to_text(self._clock.now() + self._ahead)}
            answer, _ = await self._server.send("PUT", self._path, {**self._document, "spec": spec})
            if answer.status == 409:
                answer = await self._server.get(self._path)
                if answer.status == 200 and self._holder(answer) == self._identity:
                    self._document = self._server.manifest(answer.body)
                    continue
            if answer.status != 200 or self._holder(answer) != self._identity:
                raise _LostLease(
                    f"lease {self.name} was taken by {self._holder(answer) or 'nobody' if answer.status == 200 else told(answer)}",
                    hint="the restore stopped: scale the controller to 0, then run it again with --overwrite",
                )
            self._document = self._server.manifest(answer.body)
            return

    async def give_back(self) -> None:
        """Let others have it, if it is still held. Never raises what a server does: the Lease expires by itself."""
        try:
            for _ in range(_TAKES):
                answer = await self._server.get(self._path)
                if answer.status != 200 or self._holder(answer) != self._identity:
                    return
                document = self._server.manifest(answer.body)
                if self._created:
                    metadata = document["metadata"]
                    conditions = {"preconditions": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}}
                    answer, _ = await self._server.send("DELETE", self._path, conditions)
                else:
                    spec = {**document["spec"], "holderIdentity": "", "renewTime": to_text(self._clock.now() + self._ahead)}
                    answer, _ = await self._server.send("PUT", self._path, {**document, "spec": spec})
                if answer.status != 409:
                    _log.info("lease_given_back", lease=self.name, status=answer.status)
                    return
        except ArchiverError as error:
            _log.warning("lease_not_given_back", lease=self.name, reason=error.message, expires_seconds=self._duration)

    def _holder(self, answer: Answer) -> str:
        return str((self._server.manifest(answer.body).get("spec") or {}).get("holderIdentity") or "")


class _LostLease(Unavailable):
    """Somebody else holds it."""
