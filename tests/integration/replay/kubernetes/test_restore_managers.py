"""After a restore, fields belong to whom they belonged to: server-side apply goes on as if nothing had happened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from archiver.clock import SystemClock
from archiver.journal.reader import Reader
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.replay.kubernetes.restore import plan_cluster, restore_to_cluster
from archiver.replay.kubernetes.selection import RestoreScope
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, definitions, path
from tests.servers.kubernetes_capture import KubernetesCapture, config_for
from tests.servers.kubernetes_restore import api

APPLY = ("apply", "--server-side", "--field-manager=team", "-f", "-")


def managers(item: dict[str, Any]) -> list[tuple[str, ...]]:
    names = ("manager", "operation", "subresource", "time")
    return sorted(tuple(each.get(name, "") for name in names) for each in item["metadata"]["managedFields"])


def applied(**more: Any) -> str:
    tool = custom_resource("Tool", "default", "t", {"image": "one"}, **more)
    return str(yaml.safe_dump(tool))


@pytest.mark.parametrize("replaced", [False, True])
async def test_fields_are_given_back_to_their_managers(start_cluster: Callable[..., ControlPlane], replaced: bool) -> None:
    """The tool that applied an object applies a changed manifest after the restore, as it did before: no conflict, and what it drops goes
    away. So with what was made anew and with what was replaced; owners and statuses included.
    """
    source = await asyncio.to_thread(lambda: start_cluster(definitions=definitions()))
    place = path("Tool", "default", "t")
    owner = source.request("POST", path("Agent", "default"), custom_resource("Agent", "default", "a"))
    source.kubectl(*APPLY, input=applied(labels={"drop": "me"}, owner=owner))
    source.request("PATCH", f"{place}/status?fieldManager=cook", {"status": {"phase": "Up"}}, content_type="application/merge-patch+json")
    kinds = ["tools.tools.proompteng.ai", "agents.agents.proompteng.ai"]
    capture = KubernetesCapture(config_for(source, "default", resources=kinds))
    async with capture.running():
        await asyncio.sleep(1)
    then = source.request("GET", place)
    target = await asyncio.to_thread(lambda: start_cluster(definitions=definitions()))
    if replaced:
        target.request("POST", path("Tool", "default"), custom_resource("Tool", "default", "t", {"image": "other"}))
    async with api(target) as server:
        prepared = await plan_cluster(Reader(capture.store), capture.name, Cut(), RestoreScope(), server, SystemClock(), overwrite=replaced)
        report = await restore_to_cluster(server, prepared, SystemClock())
    assert (report.failures, report.differences, report.managers) == ([], [], [])
    there = target.request("GET", place)
    assert managers(there) == managers(then)
    assert [name for name, *_ in managers(there)] == ["cook", "team"]
    new = target.request("GET", path("Agent", "default", "a"))
    target.kubectl(*APPLY, input=applied(owner=new))
    changed = target.request("GET", place)
    assert changed["metadata"].get("labels") is None
    assert (changed["status"], len(changed["metadata"]["ownerReferences"])) == ({"phase": "Up"}, 1)
    target.kubectl(*APPLY, input=applied().replace("image: one", "image: two"))
    changed = target.request("GET", place)
    assert (changed["spec"], changed["metadata"].get("ownerReferences")) == ({"image": "two"}, None)


async def test_what_was_captured_is_merged_into_what_lives(start_cluster: Callable[..., ControlPlane]) -> None:
    """Fields that were captured are as they were, and belong to whom they belonged; others stay, and stay others'. What is there otherwise
    afterwards is a difference, and nothing is one here.
    """
    source = await asyncio.to_thread(lambda: start_cluster(definitions=definitions()))
    place = path("Tool", "default", "t")
    source.kubectl(*APPLY, input=applied(labels={"mine": "1"}))
    source.request("PATCH", f"{place}/status?fieldManager=cook", {"status": {"phase": "Up"}}, content_type="application/merge-patch+json")
    kinds = ["tools.tools.proompteng.ai"]
    capture = KubernetesCapture(config_for(source, "default", resources=kinds))
    async with capture.running():
        await asyncio.sleep(1)
    target = await asyncio.to_thread(lambda: start_cluster(definitions=definitions()))
    other = custom_resource("Tool", "default", "t", {"image": "other", "timeoutSeconds": 7}, labels={"theirs": "2"})
    target.request("POST", f"{path('Tool', 'default')}?fieldManager=guest", other)
    phase = {"status": {"phase": "Down", "specHash": "h"}}
    target.request("PATCH", f"{place}/status?fieldManager=guest", phase, content_type="application/merge-patch+json")
    async with api(target) as server:
        prepared = await plan_cluster(Reader(capture.store), capture.name, Cut(), RestoreScope(), server, SystemClock(), mode="merge")
        report = await restore_to_cluster(server, prepared, SystemClock())
    assert (report.merged, report.failures, report.differences, report.managers) == (1, [], [], [])
    there = target.request("GET", place)
    assert there["spec"] == {"image": "one", "timeoutSeconds": 7}
    assert there["metadata"]["labels"] == {"mine": "1", "theirs": "2"}
    assert there["status"] == {"phase": "Up", "specHash": "h"}
    assert {name for name, *_ in managers(there)} == {"cook", "guest", "team"}
    target.kubectl(*APPLY, input=applied().replace("image: one", "image: two"))
    changed = target.request("GET", place)
    assert changed["metadata"]["labels"] == {"theirs": "2"}
    assert changed["spec"] == {"image": "two", "timeoutSeconds": 7}
