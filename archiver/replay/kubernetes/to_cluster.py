"""Carries out a plan against an API server, and reads back whether it is what was captured.

Order: definitions until they are served, namespaces, then objects level by level of ownership, then what is deleted, if all else was taken.
Each object is created and at once given its status, because a controller that sees a run without its status starts it again. New UIDs
replace old ones in owner references; those to owners that come later (of namespaces, of a ring) are put in at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from archiver.errors import ArchiverError, Invalid, Partial, Refused
from archiver.kubernetes import json_fields as kj
from archiver.kubernetes import url_paths
from archiver.kubernetes.url_paths import collection, member
from archiver.replay.kubernetes import manifests, sure_writes
from archiver.replay.kubernetes.definition_names import accepted
from archiver.replay.kubernetes.deleting import delete_objects
from archiver.replay.kubernetes.field_managers import added_back, given_back
from archiver.replay.kubernetes.laying_over import ways
from archiver.replay.kubernetes.manifests import Manifest
from archiver.replay.kubernetes.owners import owner_uids, references
from archiver.replay.kubernetes.plan import KEPT, WITHHELD, Action, ClusterPlan, known_uids
from archiver.replay.kubernetes.plan_file import changed, version
from archiver.replay.kubernetes.plan_file import told as differing_plans
from archiver.replay.kubernetes.selection import DEFINITIONS, NAMESPACES, Key, Objects, label
from archiver.replay.kubernetes.served_kinds import ServedKinds, not_served
from archiver.replay.kubernetes.target_objects import live_objects, told

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.kubernetes.answer import Answer
    from archiver.replay.kubernetes.patient_api import PatientApi

CONCURRENCY = 16
_GONE = "is not there"

Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, how much there is."""


Before = Callable[[Mapping[Key, tuple[str, str]]], Awaitable[None]]
"""Called once, right before anything is written, with UID and resourceVersion of each object that is, both empty where there is none."""


class ClusterReport(msgspec.Struct):
    """What a restore did."""

    created: int = 0
    replaced: int = 0
    merged: int = 0
    deleted: int = 0
    going: list[str] = []
    """Deleted objects that are there until their finalizers have done their work."""
    skipped: int = 0
    statuses: int = 0
    """Statuses put back."""
    uids: dict[str, str] = {}
    """Captured UID -> UID in the target, for stores that keep UIDs of objects."""
    kept: list[str] = []
    """What the target holds already and was left as it is, although it is another one: object and paths."""
    withheld: list[str] = []
    """Those of ``kept`` that were to be replaced or merged, and have fields that were never captured."""
    orphans: list[str] = []
    """Objects that lost a reference to an owner."""
    whole: list[str] = []
    """Merged objects whose lists are as they were captured, since the target did not take both lists in one, and why."""
    managers: list[str] = []
    """Objects whose fields could not be given back to their managers, and why: server-side apply may meet conflicts."""
    undone: list[str] = []
    """What an undo should have put back, and could not: object and reason."""
    failures: list[str] = []
    """What the server refused: object and its reason."""
    differences: list[str] = []
    """What reads back otherwise than it was captured: object and path."""

    @property
    def problems(self) -> list[str]:
        """What was not taken by the target or not written, or reads back otherwise than captured."""
        return [*self.failures, *self.undone, *self.withheld, *self.differences]


class Restorer:
    """One run of one plan."""

    def __init__(
        self,
        server: PatientApi,
        plan: ClusterPlan,
        objects: Objects,
        live: Mapping[Key, Manifest],
        owners: Mapping[str, str],
        clock: Clock,
        progress: Progress,
        versions: Mapping[Key, tuple[str, str]] | None = None,
        before: Before | None = None,
    ) -> None:
        """``versions``: UID and resourceVersion that each object of the plan must have before anything is written, both empty for one that
        must not be there; ``None``: as it comes.
        """
        self._server = server
        self._plan = plan
        self._objects = objects
        self._live = dict(live)
        self._clock = clock
        self._progress = progress
        self._versions = versions
        self._kinds = ServedKinds(server, plan.resources, clock)
        self._refused: dict[str, str] = {}
        """Definitions that were not taken, and why."""
        self._before = before
        self._merged: dict[Key, Manifest] = {}
        """What was to be written of objects that were merged."""
        self._done: list[Action] = []
        self._lacking: list[Action] = []
        self._without: set[str] = set()
        """Namespaces that could not be made."""
        self._spaces: list[str] = []
        """Those that were."""
        kept = {action.key for action in plan.actions if action.do == "skip"}
        # What lives in the target and is not replaced keeps its UID.
        self._uids = known_uids(Objects({key: one for key, one in objects.by_key.items() if key in kept}), live, owners)
        self.report = ClusterReport()

    async def run(self) -> ClusterReport:
        """Do what the plan says, then compare. The contract is ``restore.restore_to_cluster``'s."""
        try:
            return await self._run()
        except (Invalid, Refused) as error:
            written = len(self._done) + len(self._spaces) + self.report.deleted
            if not written:
                raise
            # Those two mean that nothing was touched.
            hints = [*([error.hint] if error.hint else []), "make a new plan, which goes on from what is there"]
            raise Partial(f"{written} objects were written, but then {error.message}", hint="; then ".join(hints)) from None

    async def _run(self) -> ClusterReport:
        actions = [action for action in self._plan.actions if action.do != "skip"]
        self.report.skipped = len(self._plan.actions) - len(actions)
        others = [action for action in self._plan.actions if action.do == "skip" and action.why.startswith(f"{KEPT},")]
        self.report.kept = [f"{label(action.key)}: {action.why}" for action in others]
        self.report.withheld = [f"{label(action.key)}: {action.why}" for action in others if action.why.startswith(WITHHELD)]
        self.report.undone = list(self._plan.undone)
        deletions = [action for action in actions if action.do == "delete"]
        actions = [action for action in actions if action.do != "delete"]
        definitions = [action for action in actions if action.resource == DEFINITIONS]
        namespaces = [action for action in actions if action.resource == NAMESPACES]
        rest = [action for action in actions if action.resource not in (DEFINITIONS, NAMESPACES)]
        if self._versions is not None:
            await self._require([*actions, *deletions], self._versions)
        coming = {action.name for action in definitions}
        await self._require_served({action.resource for action in actions} - coming)
        if self._versions is None:
            await self._look_again([action for action in actions if action.do in ("replace", "merge")])
        if self._before is not None and (actions or deletions):
            # What is created must not be there, whatever its name had when the plan was made.
            over = {action.key: self._live.get(action.key) for action in (*actions, *deletions) if action.do != "create"}
            there = {key: version(live) for key, live in over.items() if live is not None}
            await self._before({action.key: there.get(action.key, ("", "")) for action in (*actions, *deletions)})
        # Of two that claim the same names the first gets them, and so must those that had them.
        later = [action for action in definitions if not accepted(self._objects.by_key[action.key])]
        await self._level([action for action in definitions if action not in later], "definitions")
        rest = await self._of_served_kinds(rest)
        await self._level(later, "definitions")
        await self._level(namespaces, "namespaces")
        await self._namespaces()
        self.report.failures += [f"{label(action.key)}: its namespace is not there" for action in rest if action.namespace in self._without]
        rest = [action for action in rest if action.namespace not in self._without]
        for level in sorted({action.level for action in rest}):
            await self._level([action for action in rest if action.level == level], f"objects, level {level}")
        await self._late_owners()
        await self._compare()
        if self._lacks:
            # What is to take the place of the deleted is not there. Both states would be lost.
            self.report.failures += [f"{label(action.key)}: not deleted, since not everything was written" for action in deletions]
        else:
            await delete_objects(self._server, self._plan, deletions, self._live, self.report, self._progress)
        return self.report

    @property
    def _lacks(self) -> bool:
        """Whether something of what was to be written is not there, as far as is known."""
        return bool(self.report.failures) or any(each.endswith(f": {_GONE}") for each in self.report.differences)

    async def _require_served(self, kinds: set[str]) -> None:
        """``Refused`` where a kind is not served, and no definition of the plan will change that."""
        if lacking := await self._kinds.wait(kinds, {}):
            raise Refused(
                f"the target does not serve {not_served(lacking)}",
                hint="install the definitions first (the chart of the application), or capture them: rbac.clusterScoped",
            )

    async def _of_served_kinds(self, actions: list[Action]) -> list[Action]:
        """Those of ``actions`` whose kind is served by now; the others are failures. ``Refused`` where nothing at all could be written."""
        lacking = await self._kinds.wait({action.resource for action in actions}, self._refused)
        found = [action for action in actions if action.resource not in lacking]
        if lacking and not found and not self._done:
            raise Refused(
                f"the target does not serve {not_served(lacking)}", hint="install the definitions first, or restore as another user"
            )
        self.report.failures += [
            f"{label(action.key)}: its kind is not served: {lacking[action.resource]}" for action in actions if action.resource in lacking
        ]
        return found

    async def _require(self, actions: list[Action], versions: Mapping[Key, tuple[str, str]]) -> None:
        """``Refused`` by name where the target is not as the plan was made for. Later changes make the server refuse the write."""
        resources = {action.resource: self._plan.resources[action.resource] for action in actions}
        now = await live_objects(self._server, resources, {action.namespace for action in actions if action.namespace})
        found = []
        for action in actions:
            planned, there = versions.get(action.key, ("", "")), now.get(action.key)
            is_now = version(there) if there is not None else ("", "")
            if is_now != planned:
                found.append(f"{label(action.key)}: {changed(planned[0], is_now[0])}")
        if found:
            raise Refused(
                f"the plan does not hold any more: {differing_plans(found)}",
                hint="nothing was written; make a new plan and look at it: --dry-run, for a restore with --plan-file FILE",
            )

    async def _look_again(self, replaced: list[Action]) -> None:
        """What is to be replaced may have changed since the plan was made: controllers stop only while their leases are waited for."""
        resources = {action.resource: self._plan.resources[action.resource] for action in replaced}
        now = await live_objects(self._server, resources, {action.namespace for action in replaced if action.namespace})
        for action in replaced:
            if action.key in now:
                self._live[action.key] = now[action.key]
            else:
                self._live.pop(action.key, None)

    async def _level(self, actions: list[Action], what: str) -> None:
        done = 0
        queue = iter(actions)

        async def work() -> None:
            nonlocal done
            for action in queue:
                await self._one(action)
                done += 1
                self._progress(what, done, len(actions))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(CONCURRENCY, len(actions))):
                    group.create_task(work())
        except BaseExceptionGroup as several:
            raise next((error for error in several.exceptions if isinstance(error, ArchiverError)), several.exceptions[0]) from None

    async def _one(self, action: Action) -> None:
        manifest = self._objects.by_key[action.key]
        resource = self._plan.resources[action.resource]
        wanted, lost = manifests.desired(manifest, self._uids)
        if lost:
            self._lacking.append(action)
        # The status of a definition is the server's own business: whether and how it is served.
        has_status = action.resource != DEFINITIONS and self._kinds.with_status[action.resource]
        status = wanted.get("status") if has_status else None
        if has_status or action.resource == DEFINITIONS:
            wanted.pop("status", None)
        path = collection(resource, action.namespace)
        live = self._live.get(action.key) if action.do in ("replace", "merge") else None
        if action.do == "merge" and live is not None:
            answer, merged = await self._merge(action, path, live)
            status = merged.get("status")
        elif live is not None:
            answer = await sure_writes.replace(self._server, path, manifests.with_applied(wanted, manifest, live), live)
        else:
            answer = await sure_writes.create(self._server, path, wanted)
        if answer.status not in (200, 201):
            self.report.failures.append(f"{label(action.key)}: {told(answer)}")
            if action.resource == DEFINITIONS:
                self._refused[action.name] = told(answer)
            return
        written: Manifest = self._server.manifest(answer.body)
        self._uids[manifests.uid(manifest)] = self.report.uids[manifests.uid(manifest)] = manifests.uid(written)
        self._done.append(action)
        if live is not None and action.do == "merge":
            self.report.merged += 1
        elif live is not None:
            self.report.replaced += 1
        else:
            self.report.created += 1
        if has_status and not kj.same(written.get("status"), status):
            answer = await sure_writes.put_status(self._server, path, written, status)
            if answer.status != 200:
                self.report.failures.append(f"{label(action.key)} status: {told(answer)}")
            else:
                self.report.statuses += 1
                written = self._server.manifest(answer.body)
        if not lost:
            await self._give_back(action, written)

    async def _merge(self, action: Action, path: str, live: Manifest) -> tuple[Answer, Manifest]:
        """Write what was captured laid over what is ``live``, and say what that is. Where the target finds it wrong (two ports of one name,
        where one had another number), lists come as wholes.
        """
        manifest = self._objects.by_key[action.key]
        refused = ""
        for merged in ways(manifests.desired(manifest, self._uids)[0], manifest, live):
            answer = await sure_writes.replace(self._server, path, merged, live)
            if answer.status != 422:
                break
            refused = refused or told(answer)
        if answer.status == 200 and refused:
            self.report.whole.append(f"{label(action.key)}: {refused}")
        self._merged[action.key] = merged
        return answer, merged

    async def _give_back(self, action: Action, written: Manifest) -> None:
        """Give the fields of an object just written back to those who managed them when it was captured."""
        manifest = self._objects.by_key[action.key]
        place = member(collection(self._plan.resources[action.resource], action.namespace), action.name)

        def wanted(there: Manifest) -> list[dict[str, Any]]:
            if action.do == "merge":
                return added_back(manifest, there, self._uids)
            return given_back(manifest, written, there, self._uids)

        answer = await sure_writes.put_managers(self._server, place, written, wanted)
        if answer is not None and answer.status != 200:
            self.report.managers.append(f"{label(action.key)}: {told(answer)}")

    async def _late_owners(self) -> None:
        """Owners that were not there when what they own was written."""
        done = {action.key for action in self._done}
        for action in sorted(self._lacking, key=lambda action: action.key):
            manifest = self._objects.by_key[action.key]
            wanted, lost = manifests.desired(manifest, self._uids)
            if lost:
                self.report.orphans.append(f"{label(action.key)}: {', '.join(lost)}")
            if action.key in done and len(lost) < len(references(manifest)):
                place = member(collection(self._plan.resources[action.resource], action.namespace), action.name)
                answer = await sure_writes.put_owners(self._server, place, self._uids[manifests.uid(manifest)], references(wanted))
                if answer.status != 200:
                    self.report.failures.append(f"{label(action.key)} owners: {told(answer)}")
                    continue
                await self._give_back(action, self._server.manifest(answer.body))
            elif action.key in done:
                place = member(collection(self._plan.resources[action.resource], action.namespace), action.name)
                answer = await self._server.get(place)
                if answer.status == 200:
                    await self._give_back(action, self._server.manifest(answer.body))

    async def _namespaces(self) -> None:
        for name in self._plan.namespaces:
            answer = await self._server.get(url_paths.namespace(name))
            if answer.status == 404:
                answer = await sure_writes.create(self._server, url_paths.NAMESPACES, manifests.namespace(name))
                if answer.status in (200, 201):
                    self._spaces.append(name)
                taken = answer.status in (200, 201, 409)
            else:
                # A namespaced user cannot look; creating objects will say what is missing.
                taken = answer.status in (200, 403)
            if not taken:
                # Its objects cannot be made either; those of other namespaces can.
                self.report.failures.append(f"namespace {name}: {told(answer)}")
                self._without.add(name)

    async def _compare(self) -> None:
        self._progress("comparing", 0, len(self._done))
        resources = {action.resource: self._plan.resources[action.resource] for action in self._done}
        unseen: dict[str, str] = {}
        live = await live_objects(self._server, resources, {action.namespace for action in self._done if action.namespace}, unseen)
        self.report.failures += [f"{name}: what was written of it cannot be compared: {why}" for name, why in sorted(unseen.items())]
        for action in sorted((each for each in self._done if each.resource not in unseen), key=lambda action: action.key):
            found = live.get(action.key)
            if found is None:
                self.report.differences.append(f"{label(action.key)}: {_GONE}")
                continue
            wanted = self._objects.by_key[action.key]
            if action.resource == DEFINITIONS:
                wanted, found = dict(wanted), dict(found)
                wanted.pop("status", None)
                found.pop("status", None)
            merged = self._merged.get(action.key)
            if merged is not None:
                # Owners may have come later; those that were captured are as they are now.
                owners = references(manifests.desired(wanted, self._uids)[0]) or references(merged)
                wanted = {**merged, "metadata": {**merged["metadata"], "ownerReferences": owners}}
                same = {owner: owner for owner in owner_uids(wanted)}
            else:
                same = self._uids
            self.report.differences += [f"{label(action.key)}: {path}" for path in manifests.differing(wanted, found, same)]
        self._progress("comparing", len(self._done), len(self._done))
