"""Runs are deleted by mistake; an operator brings them back into the living cluster without their controller starting them again."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from archiver.clock import SystemClock, to_text
from tests.servers.agents_world import Identity, differences, snapshot
from tests.servers.archiver import Archiver
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, path
from tests.servers.elector import Elector

KINDS = ("Agent", "AgentRun", "ToolRun")


class Controller:
    """Submits every run that has no status, while it leads: what a restore must not provoke."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.submitted: list[str] = []
        self.looked = 0
        self._plane, self._namespace = plane, namespace
        self._elector = Elector(plane, namespace, "agents-controller-leader", "controller")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._elector.__enter__()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(20)
        self._elector.__exit__(kind, error, trace)

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            if not self._elector.leads:
                continue
            for run in self._plane.request("GET", path("AgentRun", self._namespace))["items"]:
                if not run.get("status"):
                    self.submit(run["metadata"]["name"])
            self.looked += 1

    def submit(self, name: str) -> None:
        self.submitted.append(name)
        status = {"status": {"phase": "Running", "runtimeRef": {"name": f"job-{len(self.submitted)}"}}}
        where = path("AgentRun", self._namespace, name, status=True)
        try:
            self._plane.request("PATCH", where, status, content_type="application/merge-patch+json")
        except urllib.error.HTTPError as failure:
            failure.close()


def until(condition: Callable[[], Any], what: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def make(plane: ControlPlane, namespace: str, count: int) -> None:
    """Agents with runs, and tools that they ran."""
    agent = plane.request("POST", path("Agent", namespace), custom_resource("Agent", namespace, "writer"))
    for number in range(count):
        body = custom_resource("AgentRun", namespace, f"run-{number}", {"agentRef": {"name": "writer"}}, owner=agent)
        run = plane.request("POST", path("AgentRun", namespace), body)
        tool = plane.request("POST", path("ToolRun", namespace), custom_resource("ToolRun", namespace, f"tool-{number}", owner=run))
        tool["status"] = {"phase": "Succeeded"}
        plane.request("PUT", path("ToolRun", namespace, f"tool-{number}", status=True), tool)


def test_deleted_runs_come_back_and_are_not_run_again(cluster: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """History tells when it happened; the plan tells what would be done; the restore pauses the controller by its Lease, brings back what is
    missing and what was changed, and gives the Lease back; nothing is submitted twice.
    """
    sources = {"agents": {"kubernetes": {"kubeconfig": str(cluster.kubeconfig), "namespaces": [namespace]}}}
    target = f"kubeconfig:{cluster.kubeconfig}"
    count = 25
    with Archiver(tmp_path, sources, serve=True) as archiver, Controller(cluster, namespace) as controller:
        archiver.start()
        archiver.wait_for_baseline(f"agents/agents.proompteng.ai/agentruns@{namespace}")
        make(cluster, namespace, count)
        until(lambda: len(controller.submitted) >= count, "every run is submitted once")
        looked = controller.looked
        until(lambda: controller.looked > looked + 3, "the controller has nothing left to do")
        wanted = snapshot(cluster, namespace, KINDS)
        time.sleep(2.5)
        noted = to_text(SystemClock().now())
        for number in range(0, count, 2):
            # The tool of each run is collected with it.
            cluster.request("DELETE", path("AgentRun", namespace, f"run-{number}"))
        until(lambda: len(snapshot(cluster, namespace, ("ToolRun",))) == count // 2, "tools are collected", 60)
        # The last event of its stream tells that all before it are in the journal.
        marker = cluster.request(
            "POST", path("AgentRun", namespace), custom_resource("AgentRun", namespace, "later", {"agentRef": {"name": "w"}})
        )
        stream = f"agents/agents.proompteng.ai/agentruns@{namespace}"
        newest = int(marker["metadata"]["resourceVersion"])
        archiver.wait(lambda: durable(archiver, stream) >= newest, "durable")

        log = archiver.call("log", "--source", "agents", "--object", f"agentruns.agents.proompteng.ai/{namespace}/run-0", "--json")
        events = [change["event"] for change in json.loads(log.stdout)]
        assert (events[0], events[-1]) == ("ADDED", "DELETED"), log.stderr
        chosen = ("--kind", "agents", "--kind", "agentruns", "--kind", "toolruns", "--namespace", namespace)
        restore = ("restore", "--at", noted, "--source", "agents", "--to", target, "--overwrite", *chosen)
        refused = archiver.call(*restore)
        assert (refused.returncode, "captured cluster itself" in refused.stderr) == (3, True), refused.stderr
        unasked = archiver.call(*restore, "--into-source")
        assert (unasked.returncode, "controllers live in the target" in unasked.stderr) == (3, True), unasked.stderr
        before = list(controller.submitted)
        lease = ("--hold-lease", f"{namespace}/agents-controller-leader", "--uid-map", str(tmp_path / "uids.json"))
        plan = archiver.call(*restore, "--into-source", *lease, "--dry-run", "--json")
        assert plan.returncode == 0, plan.stderr
        done = archiver.call(*restore, "--into-source", *lease, "--json")
        assert done.returncode == 0, done.stderr + done.stdout
        looked = controller.looked
        until(lambda: controller.looked > looked + 3, "the controller leads again")
        there = snapshot(cluster, namespace, KINDS)
        later = ("AgentRun", namespace, "later")
        assert differences(wanted, {key: item for key, item in there.items() if key != later}) == []
        assert [name for name in controller.submitted[len(before) :] if name != "later"] == []
        uids = json.loads((tmp_path / "uids.json").read_text())
        assert {uids[item["metadata"]["uid"]] for item in wanted.values()} == {
            item["metadata"]["uid"] for key, item in there.items() if key != later
        }
        assert archiver.stop() == 0


def test_ten_of_fifty_runs_come_back_beside_forty_that_nobody_touches(cluster: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """The plan says of each run what would become of it, and is a file; one command carries it out. The ten come back with what they
    owned and are not run again by the controller, which is alive; the other forty are the same objects in the same version. A plan that
    does not hold any more is refused by name, and writes nothing.
    """
    sources = {"agents": {"kubernetes": {"kubeconfig": str(cluster.kubeconfig), "namespaces": [namespace]}}}
    with Archiver(tmp_path, sources) as archiver, Controller(cluster, namespace) as controller:
        archiver.start()
        stream = f"agents/agents.proompteng.ai/agentruns@{namespace}"
        archiver.wait_for_baseline(stream)
        make(cluster, namespace, 50)
        until(lambda: len(controller.submitted) >= 50, "every run is submitted once")
        looked = controller.looked
        until(lambda: controller.looked > looked + 3, "the controller has nothing left to do")
        wanted = snapshot(cluster, namespace, KINDS)
        for kind, of in (("AgentRun", stream), ("ToolRun", f"agents/tools.proompteng.ai/toolruns@{namespace}")):
            newest = max(int(item["metadata"]["resourceVersion"]) for key, item in wanted.items() if key[0] == kind)
            archiver.wait(lambda of=of, newest=newest: durable(archiver, of) >= newest, f"{of} durable")
        noted = to_text(SystemClock().now())
        gone = [f"run-{number}" for number in range(0, 50, 5)]
        for name in gone:
            cluster.request("DELETE", path("AgentRun", namespace, name))
        until(lambda: len(snapshot(cluster, namespace, ("ToolRun",))) == 40, "tools are collected", 60)
        left = snapshot(cluster, namespace, KINDS)
        chosen = ("--at", noted, "--wait", "30", "--namespace", namespace, "--to", f"kubeconfig:{cluster.kubeconfig}", "--into-source")
        plan = ("restore", *chosen, "--hold-lease", f"{namespace}/agents-controller-leader", "--dry-run", "--json", "--plan-file")
        shown = archiver.call(*plan, str(tmp_path / "plan.json"))
        assert shown.returncode == 0, shown.stderr
        totals = {(each["resource"], each["finding"]): each["objects"] for each in json.loads(shown.stdout)["sources"][0]["totals"]}
        runs, tools = "agentruns.agents.proompteng.ai", "toolruns.tools.proompteng.ai"
        assert [totals[kind, found] for kind in (runs, tools) for found in ("create", "unchanged")] == [10, 40, 10, 40]
        before = list(controller.submitted)
        carried_out = ("restore", "--plan", str(tmp_path / "plan.json"), "--to", f"kubeconfig:{cluster.kubeconfig}")
        unnamed = archiver.call(*carried_out[:3])
        assert (unnamed.returncode, "--to is missing" in unnamed.stderr) == (2, True), unnamed.stderr
        done = archiver.call(*carried_out, "--json")
        assert done.returncode == 0, done.stderr + done.stdout
        assert f"made with --into-source, --hold-lease {namespace}/agents-controller-leader" in " ".join(done.stderr.split()), done.stderr
        looked = controller.looked
        until(lambda: controller.looked > looked + 3, "the controller leads again")
        there = snapshot(cluster, namespace, KINDS)
        assert differences(wanted, there) == []
        assert {key: version for key, version in versions(there).items() if key in left} == versions(left)
        assert {key: there[key]["metadata"]["uid"] for key in left} == {key: item["metadata"]["uid"] for key, item in left.items()}
        assert controller.submitted == before
        again = archiver.call(*carried_out)
        assert (again.returncode, f"{runs} {namespace}/run-0: create was planned, and now it is unchanged" in again.stderr) == (3, True)
        assert versions(snapshot(cluster, namespace, KINDS)) == versions(there)
        beside = archiver.call(*carried_out, "--allow-gaps")
        assert (beside.returncode, "--allow-gaps does not go with --plan" in beside.stderr) == (2, True), beside.stderr
        assert archiver.stop() == 0


def durable(archiver: Archiver, stream: str) -> int:
    """The newest version of the stream that is in the journal."""
    return int(archiver.source(stream).get("position") or archiver.source(stream).get("durable_position") or 0)


def versions(objects: dict[Identity, dict[str, Any]]) -> dict[Identity, str]:
    """A change of any object changes its own; one that was made anew has another."""
    return {key: item["metadata"]["resourceVersion"] for key, item in objects.items()}
