"""Objects that nest as deeply as the API server takes them: they cost nobody else's history, and come back themselves."""

from __future__ import annotations

import asyncio
import ssl
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from archiver.clock import SystemClock
from archiver.history.objects import ObjectRef, object_log
from archiver.journal.entry import Kind
from archiver.journal.reader import Reader
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.replay.kubernetes.restore import plan_cluster, restore_to_cluster, restore_to_folder
from archiver.replay.kubernetes.selection import RestoreScope
from tests.servers.controlplane import ControlPlane
from tests.servers.kubernetes_capture import KubernetesCapture, config_for
from tests.servers.kubernetes_restore import api

THINGS = "deep.example.org/things"
PATH = "/apis/deep.example.org/v1/namespaces/default/things"
ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
DEFINITION: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.deep.example.org"},
    "spec": {
        "group": "deep.example.org",
        "scope": "Namespaced",
        "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": ANYTHING}}],
    },
}


def ask(plane: ControlPlane, method: str, path: str, body: bytes | None = None) -> bytes:
    """As bytes: the test's own JSON reader would not take what is sent here."""
    headers = {"Authorization": f"Bearer {plane.admin_token}", "Content-Type": "application/json"}
    request = urllib.request.Request(plane.url + path, data=body, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=30, context=ssl.create_default_context(cafile=plane.ca)) as answer:
        found: bytes = answer.read()
        return found


def create(plane: ControlPlane, name: str, levels: int) -> str:
    """Its resourceVersion."""
    spec = b'{"a":' * levels + b'"bottom"' + b"}" * levels
    body = b'{"apiVersion":"deep.example.org/v1","kind":"Thing","metadata":{"name":"%b"},"spec":%b}' % (name.encode(), spec)
    answer = ask(plane, "POST", PATH, body)
    return answer.partition(b'"resourceVersion":"')[2].partition(b'"')[0].decode()


async def test_deep_objects_are_captured_restored_and_shown(start_cluster: Callable[..., ControlPlane], tmp_path: Path) -> None:
    """Listed and watched beside others; every object is in the restore, in the folder, and in its own history."""
    plane, clock = await asyncio.to_thread(start_cluster, definitions=[DEFINITION]), SystemClock()
    depths = {"flat": 1, "listed": 990, "listed-deeper": 4000}
    for name, levels in depths.items():
        create(plane, name, levels)
    capture = KubernetesCapture(config_for(plane, resources=["*.example.org"]))
    async with capture.running():
        for name, levels in (("seen", 990), ("seen-deeper", 4000), ("later", 1)):
            depths[name] = levels
            await capture.until_durable(THINGS, create(plane, name, levels))
    async with capture.running():
        await capture.until_durable(THINGS, create(plane, "after", 1))
        depths["after"] = 1
    assert not await capture.records(THINGS, Kind.GAP)
    state = await capture.folded(THINGS)
    assert {name for _, name in state.objects} == set(depths)

    reader = Reader(capture.store)
    for name in ("seen-deeper", "listed"):
        (change,) = await object_log(reader, capture.name, ObjectRef("things.deep.example.org", "default", name))
        assert change.manager.startswith("Python-urllib")
        assert msgspec.json.encode(change.state).count(b'"a":') == depths[name]

    target = await asyncio.to_thread(start_cluster)
    async with api(target) as server:
        prepared = await plan_cluster(reader, capture.name, Cut(), RestoreScope(), server, clock)
        report = await restore_to_cluster(server, prepared, clock)
    assert (report.failures, report.differences) == ([], [])
    for name, levels in depths.items():
        assert ask(target, "GET", f"{PATH}/{name}").count(b'"a":') == levels

    folder = restore_to_folder(prepared, tmp_path / "out")
    written = {file.stem: file.read_text() for file in (tmp_path / "out/objects").rglob("*.yaml")}
    assert folder.files > len(depths)
    assert {name: text.count('"a":') for name, text in written.items() if depths[name] > 1} == {
        name: levels for name, levels in depths.items() if levels > 1
    }
