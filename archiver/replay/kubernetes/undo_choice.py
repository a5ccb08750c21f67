"""What a restore wrote, what was there before, what lives now -> what an undo does with each object. Pure.

created:  gone -> left; as it was restored -> deleted; otherwise -> changed since. It was there at the mark: somebody else's, left
replaced: as it was at the mark -> left (it was not reached, or is undone); as it was restored -> put back; otherwise, gone -> changed
deleted:  gone -> put back; the same object, still there -> left; another one of that name -> changed since
either:   being deleted -> left, a problem
what the archive does not have at the mark, and is not as it was then -> left, a problem
changed since: refused; when that is permitted, what was created is deleted and all else put back
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal

import msgspec

from archiver.kubernetes.redaction_mark import REDACTED, redacted_paths
from archiver.replay.kubernetes import manifests
from archiver.replay.kubernetes.findings import paths_text
from archiver.replay.kubernetes.laying_over import ways
from archiver.replay.kubernetes.owners import owner_uids
from archiver.replay.kubernetes.plan_file import version
from archiver.replay.kubernetes.selection import DEFINITIONS, NAMESPACES, VOLUMES, Key

if TYPE_CHECKING:
    from archiver.replay.kubernetes.manifests import Manifest
    from archiver.replay.kubernetes.plan_file import PlannedObject

_GOING = "it is being deleted: undo again when it is gone"


class Choice(msgspec.Struct, frozen=True):
    """One object that the restore wrote, or was about to."""

    key: Key
    do: Literal["put back", "delete", "leave"]
    why: str
    changed: bool = False
    """By others, since the restore: what is done with it destroys that."""
    problem: bool = False
    """It should be put back, and cannot be now."""


def choose(
    written: Iterable[PlannedObject],
    before: Mapping[Key, Manifest],
    restored: Mapping[Key, Manifest],
    live: Mapping[Key, Manifest],
    uids: Mapping[str, str],
) -> Iterator[Choice]:
    """One choice for each object in ``written``. ``before``: at the mark; ``restored``: at the point that was restored; ``uids``: captured
    UID -> UID in the target, of the owners of what was restored.
    """
    for each in written:
        key = each.key
        if key[0] in (DEFINITIONS, NAMESPACES):
            yield Choice(key, "leave", "definitions and namespaces stay: everything in them would go")
            continue
        if key[0] in VOLUMES and each.do == "create":
            yield Choice(key, "leave", "volumes and their claims stay: the data may go with them")
            continue
        was, wanted, there = before.get(key), restored.get(key), live.get(key)
        match each.do:
            case "create":
                yield _created(key, was, wanted, there, uids)
            case "replace":
                yield _replaced(each, was, wanted, there, uids)
            case "merge":
                # Which of the two the target took is not in the record, which is older than the writes.
                made = min(_merged(was, wanted, uids), key=lambda one: len(_paths(one, there)))
                yield _replaced(each, was, made, there, _own(made) if made is not None else {})
            case "delete":
                yield _deleted(each, was, there)
            case "skip":
                continue


def _created(key: Key, was: Manifest | None, wanted: Manifest | None, there: Manifest | None, uids: Mapping[str, str]) -> Choice:
    if there is None:
        return Choice(key, "leave", "it is not there")
    if was is not None:
        return Choice(key, "leave", "it was there at the mark, and is not the restore's")
    paths = manifests.differing(wanted, there, uids) if wanted is not None else ["all of it"]
    if not paths:
        return Choice(key, "delete", "the restore created it")
    return Choice(key, "delete", f"the restore created it, and it was changed since in {paths_text(paths)}", changed=True)


def _replaced(
    each: PlannedObject, was: Manifest | None, wanted: Manifest | None, there: Manifest | None, uids: Mapping[str, str]
) -> Choice:
    key = each.key
    if was is None:
        return _unknown(each, there)
    if there is not None and manifests.terminating(there):
        return Choice(key, "leave", _GOING, problem=True)
    if there is None:
        return Choice(key, "put back", "the restore replaced it, and it is gone since", changed=True)
    if not manifests.differing(was, there, _own(was)):
        return Choice(key, "leave", "it is as it was at the mark")
    paths = manifests.differing(wanted, there, uids) if wanted is not None else ["all of it"]
    if not paths:
        return Choice(key, "put back", "the restore replaced it")
    return Choice(key, "put back", f"the restore replaced it, and it was changed since in {paths_text(paths)}", changed=True)


def _deleted(each: PlannedObject, was: Manifest | None, there: Manifest | None) -> Choice:
    key = each.key
    if was is None:
        return _unknown(each, there)
    if there is None:
        return Choice(key, "put back", "the restore deleted it")
    if manifests.terminating(there):
        return Choice(key, "leave", _GOING, problem=True)
    if manifests.uid(there) == each.uid:
        return Choice(key, "leave", "it is there still")
    if not manifests.differing(was, there, _own(was)):
        return Choice(key, "leave", "it is as it was at the mark")
    return Choice(key, "put back", "the restore deleted it, and another one of that name is there since", changed=True)


def _unknown(each: PlannedObject, there: Manifest | None) -> Choice:
    as_ever = there is not None and version(there) == (each.uid, each.resource_version)
    return Choice(each.key, "leave", "the archive does not have it at the mark", problem=not as_ever)


def _merged(was: Manifest | None, wanted: Manifest | None, uids: Mapping[str, str]) -> Iterator[Manifest | None]:
    if was is None or wanted is None:
        yield wanted
        return
    # What was cut from it lives still, and is not compared.
    mark = redacted_paths(was)
    for found in ways(manifests.desired(wanted, uids)[0], wanted, was):
        yield {**found, "metadata": {**found["metadata"], REDACTED: mark}} if mark else found


def _paths(made: Manifest | None, there: Manifest | None) -> list[str]:
    return manifests.differing(made, there, _own(made)) if made is not None and there is not None else []


def _own(manifest: Manifest) -> dict[str, str]:
    return {owner: owner for owner in owner_uids(manifest)}
