"""History of one custom resource, captured from a real API server."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from archiver.clock import SystemClock
from archiver.history.objects import ObjectRef, differences, object_log, plain
from archiver.journal.keys import HISTORY, history_prefix
from archiver.journal.reader import Reader
from archiver.maintenance.object_history import add_object_history
from archiver.store.directory import DirectoryStore
from tests.integration.maintenance.outside_readers import query, statement
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, path
from tests.servers.kubernetes_capture import KubernetesCapture, config_for
from tests.unit.history.test_objects import state_at


async def test_log_show_and_diff_across_spec_status_labels_and_owners(cluster: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """What changed, when, and who wrote it, each as its own entry; deletion while nobody watched as an interval; the same name again later."""
    clock = SystemClock()
    capture = KubernetesCapture(config_for(cluster, namespace, resources=["*.agents.proompteng.ai", "*.tools.proompteng.ai"]))
    place = path("ToolRun", namespace)

    def write(method: str, where: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        answer: dict[str, Any] = cluster.request(method, where, body, content_type=kind)
        return answer

    async with capture.running():
        owner = write("POST", path("Agent", namespace), custom_resource("Agent", namespace, "a"))
        made = write("POST", place, custom_resource("ToolRun", namespace, "t", {"retries": 1}))
        write("POST", place, custom_resource("ToolRun", namespace, "t2", {"retries": 9}))
        write("PATCH", f"{place}/t?fieldManager=cook", {"spec": {"retries": 2, "parameters": {"x": "y"}}})
        await capture.until_durable(f"tools.proompteng.ai/toolruns@{namespace}", made["metadata"]["resourceVersion"])
        await asyncio.sleep(0.3)
        middle = clock.now()
        write("PATCH", f"{place}/t/status", {"status": {"phase": "Running"}})
        write("PATCH", f"{place}/t", {"metadata": {"labels": {"app.io/round": "2"}, "annotations": {"note": "n"}}})
        reference = {"apiVersion": owner["apiVersion"], "kind": "Agent", "name": "a", "uid": owner["metadata"]["uid"]}
        last = write("PATCH", f"{place}/t", {"metadata": {"ownerReferences": [reference]}})
        await capture.until_durable(f"tools.proompteng.ai/toolruns@{namespace}", last["metadata"]["resourceVersion"])
    away = clock.now()
    write("DELETE", f"{place}/t")
    again = write("POST", place, custom_resource("ToolRun", namespace, "t", {"retries": 5}))
    async with capture.running():
        await capture.until_durable(f"tools.proompteng.ai/toolruns@{namespace}", again["metadata"]["resourceVersion"])
        write("DELETE", f"{place}/t")
        marker = write("POST", place, custom_resource("ToolRun", namespace, "t3"))
        await capture.until_durable(f"tools.proompteng.ai/toolruns@{namespace}", marker["metadata"]["resourceVersion"])
    log = await object_log(Reader(capture.store), capture.name, ObjectRef("toolruns", namespace, "t"))
    step = await add_object_history(Reader(capture.store), clock, capture.name)
    assert (step.done, step.reason) == (True, "")
    assert await object_log(Reader(capture.store), capture.name, ObjectRef("toolruns", namespace, "t")) == log
    events = [(change.event, change.changed) for change in log if change.event != "GAP"]
    assert events[:5] == [
        ("ADDED", []),
        ("MODIFIED", ["spec.parameters", "spec.retries"]),
        ("MODIFIED", ["status"]),
        ("MODIFIED", ["metadata.annotations", "metadata.labels"]),
        ("MODIFIED", ["metadata.ownerReferences"]),
    ]
    assert log[1].manager == "cook (Update)"
    assert log[2].manager.endswith("(Update/status)")
    then = state_at([change for change in log if change.observed <= middle])
    now = state_at([change for change in log if change.observed <= away])
    assert then is not None
    assert then.state is not None
    assert now is not None
    assert now.state is not None
    changed = {line[0] for line in differences(plain(then.state), plain(now.state))}
    assert changed == {"status", "metadata.labels", "metadata.annotations", "metadata.ownerReferences"}
    assert then.state["spec"] == {"retries": 2, "parameters": {"x": "y"}}
    # Back after the downtime: the old one is deleted, another one of that name is there, and is deleted too.
    rest = [change for change in log if change.event != "GAP"][5:]
    assert {change.uid for change in rest} == {made["metadata"]["uid"], again["metadata"]["uid"]}
    assert rest[-1].event == "DELETED"
    assert rest[-1].uid == again["metadata"]["uid"]
    assert any(change.event in {"ABSENT", "DELETED"} and change.uid == made["metadata"]["uid"] for change in rest)
    assert state_at(log) is None
    # Other engines see the objects that were there at the middle, as they were.
    store = DirectoryStore(tmp_path)
    for key in await capture.store.list(HISTORY):
        await store.put_if_absent(key, await capture.store.get(key) or b"")
    sql, moment = statement("All objects of a kind as of a moment"), datetime.fromtimestamp(middle / 1e6, UTC)
    rows = query(tmp_path / history_prefix(capture.name), sql, name="toolruns.tools.proompteng.ai", moment=moment)
    objects = {key: json.loads(row) for key, row in rows}
    assert sorted(objects) == [f"{namespace}/t", f"{namespace}/t2"]
    assert objects[f"{namespace}/t"] == then.state
    at_the_end = query(
        tmp_path / history_prefix(capture.name),
        sql,
        name="toolruns.tools.proompteng.ai",
        moment=datetime.fromtimestamp(clock.now() / 1e6, UTC),
    )
    assert sorted(key for key, _ in at_the_end) == [f"{namespace}/t2", f"{namespace}/t3"]
