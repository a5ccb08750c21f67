"""A plan that somebody looks at before it is carried out: its file, and whether it still holds. Pure.

    made: dry run -> file -> looked at -> `restore --plan FILE`: made again at the same point with the same choices
        the same, and what it writes over is as it was -> leases are held, looked at again -> carried out
        anything else -> refused by name, before anything is written

An object that is written has preconditions: the UID and resourceVersion that it had in the target, or that there was none; the hash of what
is written; the owners that it gets. Objects that are left alone may change meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Self

import msgspec

from archiver.errors import Invalid
from archiver.kubernetes.cluster import Cluster
from archiver.replay.kubernetes import manifests
from archiver.replay.kubernetes.label_selector import LabelSelector
from archiver.replay.kubernetes.namespace_moves import parse_moves
from archiver.replay.kubernetes.object_names import parse_object
from archiver.replay.kubernetes.owners import owner_uids
from archiver.replay.kubernetes.plan import ClusterPlan, Do, Mode, known_uids
from archiver.replay.kubernetes.selection import Key, Objects, RestoreScope, label
from archiver.untrusted import Unreadable, decode_untrusted

if TYPE_CHECKING:
    from archiver.replay.kubernetes.manifests import Manifest

FORMAT = "archiver-cluster-plan"
VERSION = 1
_MOST = 1 << 30
_NAMED = 20


class Choices(msgspec.Struct, frozen=True):
    """What the user said when the plan was made. A later version may add choices with what their absence means."""

    kinds: list[str] = []
    namespaces: list[str] = []
    objects: list[str] = []
    """``plural.group/namespace/name``."""
    labels: str = ""
    moves: dict[str, str] = {}
    mode: Mode = "create-missing"
    strict: bool = False
    into_source: bool = False
    allow_controllers: bool = False
    allow_gaps: bool = False
    leases: list[str] = []
    delete: int | msgspec.UnsetType = msgspec.UNSET
    """With mode ``exact``: how many objects that were not there may be deleted; unset: none is looked for."""
    delete_managed: bool | msgspec.UnsetType = msgspec.UNSET

    @property
    def scope(self) -> RestoreScope:
        """What is meant of the source. ``Invalid`` for what no command line may say: anybody may have written the file."""
        spaces = frozenset(self.namespaces)
        return RestoreScope(
            frozenset(self.kinds),
            spaces,
            frozenset(map(parse_object, self.objects)),
            LabelSelector.parse(self.labels),
            parse_moves([f"{old}={new}" for old, new in self.moves.items()], spaces),
        )

    @property
    def allowed(self) -> list[str]:
        """What they allow that is refused by itself, as options."""
        said = {
            "--into-source": self.into_source,
            "--allow-controllers": self.allow_controllers,
            "--allow-gaps": self.allow_gaps,
            f"--mode {self.mode}": self.mode != "create-missing",
        }
        moves = [f"--into-namespace {old}={new}" for old, new in self.moves.items()]
        said["--delete-managed"] = self.delete_managed is True
        said[f"--delete {self.delete}"] = self.delete is not msgspec.UNSET
        return [*(option for option, is_said in said.items() if is_said), *(f"--hold-lease {name}" for name in self.leases), *moves]

    @classmethod
    def of(cls, scope: RestoreScope, **chosen: object) -> Self:
        """``chosen``: the fields that are not about the scope."""
        named = sorted("/".join(part for part in key if part) for key in scope.objects)
        return msgspec.convert(
            {
                "kinds": sorted(scope.kinds),
                "namespaces": sorted(scope.namespaces),
                "objects": named,
                "labels": scope.labels.text,
                "moves": scope.moves,
                **chosen,
            },
            cls,
        )


class PlannedObject(msgspec.Struct, frozen=True):
    """One object of the plan."""

    do: Do
    finding: str
    resource: str
    namespace: str
    name: str
    why: str = ""
    wanted: str = ""
    """SHA-256 of the object as it was captured, without what servers set; of what is written."""
    uid: str = ""
    """That it has in the target, with ``resource_version``; both empty: it must not be there."""
    resource_version: str = ""
    owners: list[str] = []
    """UIDs in the target of the owners that it gets; empty for one that comes with the plan."""

    @property
    def key(self) -> Key:
        """As everywhere."""
        return self.resource, self.namespace, self.name


class PlanFile(msgspec.Struct, frozen=True):
    """What a plan file holds. Fields that a reader does not know are passed over; what changes the meaning of others is a new version."""

    format: str
    version: int
    made: int
    """Microseconds since 1970."""
    by: str
    """Version of the archiver."""
    archive: str
    source: str
    at: str
    """The point: an entry number or a time, never a name that may mean another place later."""
    entry: int
    """Newest entry in use."""
    captured: str
    """The captured cluster."""
    cluster: str
    """The target's identity."""
    target: str
    """The target as it was named."""
    choices: Choices
    objects: list[PlannedObject]
    namespaces: list[str] = []
    """That must be there, and are made where they are not."""

    def write(self) -> bytes:
        """The file."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"

    @classmethod
    def read(cls, body: bytes, name: str) -> Self:
        """``Invalid`` for what is no plan file, or one of a later version. ``name``: of the file."""
        try:
            found = decode_untrusted(body, cls, most=_MOST)
        except Unreadable as error:
            raise Invalid(f"{name} is no plan file: {error}", hint="`restore --dry-run --plan-file FILE` writes one") from None
        if found.format != FORMAT or found.version != VERSION:
            raise Invalid(
                f"{name} is a plan of format {found.format!r} {found.version}, and this version reads {FORMAT} {VERSION}",
                hint="make the plan with the version that carries it out",
            )
        return found


def planned_objects(plan: ClusterPlan, objects: Objects, live: Mapping[Key, Manifest], owners: Mapping[str, str]) -> list[PlannedObject]:
    """The objects of a plan with their preconditions, in the plan's order."""
    return list(_planned(plan, objects, live, owners))


def _planned(plan: ClusterPlan, objects: Objects, live: Mapping[Key, Manifest], owners: Mapping[str, str]) -> Iterator[PlannedObject]:
    uids = known_uids(objects, live, owners)
    own = {manifests.uid(manifest) for manifest in objects.by_key.values()}
    for action in plan.actions:
        words = (action.do, action.finding, *action.key, action.why)
        if action.do == "skip":
            yield PlannedObject(*words)
            continue
        there = live.get(action.key)
        if action.do == "delete":
            assert there is not None
            yield PlannedObject(*words, "", *version(there))
            continue
        manifest = objects.by_key[action.key]
        above = [uids.get(owner, "") for owner in owner_uids(manifest) if owner in uids or owner in own]
        yield PlannedObject(*words, digest(manifest), *(version(there) if there is not None else ("", "")), above)


def digest(manifest: Manifest) -> str:
    """Hash of an object without what servers set; the same whatever the order of its members."""
    return hashlib.sha256(msgspec.json.encode(manifests.bare(manifest), order="sorted")).hexdigest()


def version(there: Manifest) -> tuple[str, str]:
    """UID and resourceVersion of a living object."""
    return manifests.uid(there), str(there["metadata"].get("resourceVersion", ""))


def departures(planned: PlanFile, made: PlanFile) -> list[str]:
    """Why ``planned`` cannot be carried out: in what the plan that is ``made`` now is another one, by name. Empty: it holds."""
    found = []
    for what, before, now in (
        ("archive", planned.archive, made.archive),
        ("source", planned.source, made.source),
        ("target cluster", planned.cluster, made.cluster),
    ):
        if before != now and (what != "target cluster" or is_other(Cluster.of(before), Cluster.of(now))):
            found.append(f"it is of another {what} ({before}, not {now})")
    old, new = ({each.key: each for each in plan.objects} for plan in (planned, made))
    for key in sorted(old.keys() | new.keys()):
        told = _departure(old.get(key), new.get(key))
        if told:
            found.append(f"{label(key)}: {told}")
    return found


def is_other(before: Cluster, now: Cluster) -> bool:
    """By UID where both are known; two users may know the same cluster by different authorities."""
    return before.uid != now.uid if before.uid and now.uid else before != now


def _departure(planned: PlannedObject | None, made: PlannedObject | None) -> str:
    one, other = planned or made, made or planned
    assert one is not None
    assert other is not None
    if one.do == other.do == "skip":
        return ""
    if planned is None or made is None:
        return "was not planned" if planned is None else "is not restored any more"
    if (made.uid, made.resource_version) != (planned.uid, planned.resource_version):
        return changed(planned.uid, made.uid)
    if made.do != planned.do:
        return f"{planned.finding} was planned, and now it is {made.finding}"
    if made.wanted != planned.wanted:
        return "the archive has another state of it at that point"
    if made.owners != planned.owners:
        return "its owners in the target are other ones"
    return ""


def changed(planned: str, now: str) -> str:
    """How an object of the target, by the UIDs that it had when planned and has now, is not what it was."""
    if not planned:
        return "is there now, and was not"
    if not now:
        return "is gone from the target"
    return "was changed in the target since" if planned == now else "is another object in the target, of the same name"


def told(found: list[str]) -> str:
    """Departures for a refusal."""
    more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return "; ".join(found[:_NAMED]) + more
