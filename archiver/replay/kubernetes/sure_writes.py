"""Writes that are done once although answers are lost and others write too. Each returns the last answer, whatever its status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archiver.kubernetes import json_fields as kj
from archiver.kubernetes.url_paths import member
from archiver.replay.kubernetes import manifests
from archiver.replay.kubernetes.manifests import Manifest
from archiver.replay.kubernetes.owners import owner_uids, references

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from archiver.kubernetes.answer import Answer
    from archiver.replay.kubernetes.patient_api import PatientApi

_CONFLICTS = 10
_OF_ORPHANING = ("ownerReferences", "managedFields", "resourceVersion")


async def create(server: PatientApi, path: str, wanted: Manifest) -> Answer:
    """POST. Where an answer was lost and the object is there as it was asked for, the answer is that of reading it."""
    answer, unsure = await server.send("POST", path, wanted)
    return (
        await _done_before(server, member(path, wanted["metadata"]["name"]), wanted, answer) if unsure and answer.status == 409 else answer
    )


async def replace(server: PatientApi, path: str, wanted: Manifest, live: Manifest) -> Answer:
    """PUT over ``live``, provided that nobody wrote to it since it was read; a lost answer as in ``create``."""
    metadata = live["metadata"]
    body = {**wanted, "metadata": {**wanted["metadata"], "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}}
    place = member(path, metadata["name"])
    answer, unsure = await server.send("PUT", place, body)
    return await _done_before(server, place, wanted, answer) if unsure and answer.status == 409 else answer


async def delete(server: PatientApi, place: str, there: Manifest, *, dry: bool = False, gone: Collection[str] = ()) -> Answer:
    """DELETE of the object as it is ``there``, provided that nobody wrote to it since it was read; what it owns stays, without its owner.

    ``dry``: nothing is deleted. ``gone``: UIDs of owners that were deleted; losing these is no write of somebody else. 404 is as good as
    done. Where an answer was lost and the object is on its way out, or another one, the answer is that of reading it.
    """
    current = there
    for _ in range(_CONFLICTS):
        answer, unsure = await _delete(server, place, current, dry=dry)
        if answer.status != 409 or not (unsure or gone):
            break
        read = await server.get(place)
        if unsure and read.status == 404:
            return read
        if read.status != 200:
            break
        now = server.manifest(read.body)
        if unsure and (manifests.uid(now) != manifests.uid(there) or manifests.terminating(now)):
            return read
        if not _only_orphaned(there, now, gone):
            break
        current = now
    return answer


def _only_orphaned(before: Manifest, now: Manifest, gone: Collection[str]) -> bool:
    """Whether it is the same object, and nothing but owners that are ``gone`` went from it."""
    if manifests.uid(before) != manifests.uid(now) or manifests.terminating(now):
        return False
    kept = [reference for reference in references(before) if reference in references(now)]
    lost = [reference for reference in references(before) if reference not in kept]
    if references(now) != kept or not all(reference.get("uid") in gone for reference in lost):
        return False
    return kj.same(*({**each, "metadata": {k: v for k, v in each["metadata"].items() if k not in _OF_ORPHANING}} for each in (before, now)))


async def _delete(server: PatientApi, place: str, there: Manifest, *, dry: bool) -> tuple[Answer, bool]:
    metadata = there["metadata"]
    preconditions = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    body: Manifest = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions, "propagationPolicy": "Orphan"}
    if dry:
        # In the body: beside one, the server passes over what the address says, and would delete.
        body["dryRun"] = ["All"]
    return await server.send("DELETE", place, body)


async def put_status(server: PatientApi, path: str, written: Manifest, status: object) -> Answer:
    """PUT of the status subresource of an object just written; ``None``: none. A write of somebody else in between is met with another
    attempt, as long as it is the same object.
    """
    place = member(path, written["metadata"]["name"])
    current = written
    for _ in range(_CONFLICTS):
        body = {key: value for key, value in current.items() if key != "status"} | ({} if status is None else {"status": status})
        answer, _ = await server.send("PUT", f"{place}/status", body)
        if answer.status != 409:
            break
        there = await server.get(place)
        if there.status != 200:
            return there
        current = server.manifest(there.body)
        if manifests.uid(current) != manifests.uid(written):
            break
        if kj.same(current.get("status"), status):
            return there
    return answer


async def put_owners(server: PatientApi, place: str, uid: str, wanted: list[Manifest]) -> Answer:
    """PUT of the ``wanted`` owner references of the object at ``place``, as long as it has that ``uid``; nothing when it has them.

    A write of somebody else in between is met with another attempt.
    """
    for _ in range(_CONFLICTS):
        answer = await server.get(place)
        if answer.status != 200:
            break
        current: Manifest = server.manifest(answer.body)
        if manifests.uid(current) != uid or references(current) == wanted:
            break
        current["metadata"]["ownerReferences"] = wanted
        answer, _ = await server.send("PUT", place, current)
        if answer.status != 409:
            break
    return answer


async def put_managers(
    server: PatientApi, place: str, written: Manifest, wanted: Callable[[Manifest], list[dict[str, Any]]]
) -> Answer | None:
    """PUT managedFields over an object just ``written``: those ``wanted`` for it as it is. ``None`` when it has them, or none are wanted.

    A write of somebody else in between is met with another attempt, as long as it is the same object.
    """
    current, answer = written, None
    for _ in range(_CONFLICTS):
        entries = wanted(current)
        if not entries or kj.same(entries, current["metadata"].get("managedFields")):
            return None
        answer, _ = await server.send("PUT", place, {**current, "metadata": {**current["metadata"], "managedFields": entries}})
        if answer.status != 409:
            break
        there = await server.get(place)
        if there.status != 200:
            return there
        current = server.manifest(there.body)
        if manifests.uid(current) != manifests.uid(written):
            break
    return answer


async def _done_before(server: PatientApi, place: str, wanted: Manifest, answer: Answer) -> Answer:
    """The object, if it is what was asked for in all but its status, which is written afterwards; else ``answer``."""
    read = await server.get(place)
    if read.status != 200:
        return answer
    there: Manifest = server.manifest(read.body)
    there.pop("status", None)
    plain = {key: value for key, value in wanted.items() if key != "status"}
    return answer if manifests.differing(plain, there, {owner: owner for owner in owner_uids(plain)}) else read
