"""``archiver undo``: a restore into the captured cluster is taken back, whole, in part, and after it was killed on the way."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from archiver.clock import SystemClock, to_text
from archiver.errors import Refused
from archiver.journal.reader import Reader
from archiver.replay.kubernetes.undo import plan_undo
from archiver.replay.kubernetes.undo_search import find_record
from archiver.replay.restoration import Options
from archiver.replay.targets import Target
from archiver.store.open import open_store
from archiver.store.options import S3Options
from tests.servers.agents_world import FINALIZER
from tests.servers.archiver import Archiver
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, path
from tests.servers.http_proxy import HttpFaultProxy, Request
from tests.servers.warm_commands import WarmCommands

PATCH = "application/merge-patch+json"
TOOLS = "tools.tools.proompteng.ai"


class Rig:
    """A namespace that an archiver captures, and a point before something happened there."""

    def __init__(self, plane: ControlPlane, space: str, folder: Path) -> None:
        self.plane, self.space, self.folder = plane, space, folder
        sources = {"agents": {"kubernetes": {"kubeconfig": str(plane.kubeconfig), "namespaces": [space], "resources": [TOOLS]}}}
        self.archiver = Archiver(folder, sources, serve=True)
        self.to = f"kubeconfig:{plane.kubeconfig}"
        self.commands = WarmCommands(self.archiver.config)
        self.noted = ""

    def make(self, name: str, image: str) -> None:
        self.plane.request("POST", path("Tool", self.space), custom_resource("Tool", self.space, name, {"image": image}))

    def change(self, name: str, image: str) -> None:
        self.plane.request("PATCH", path("Tool", self.space, name), {"spec": {"image": image}}, content_type=PATCH)

    def delete(self, name: str) -> None:
        self.plane.request("DELETE", path("Tool", self.space, name))

    def there(self) -> dict[str, str]:
        items = self.plane.request("GET", path("Tool", self.space))["items"]
        return {item["metadata"]["name"]: item["spec"]["image"] for item in items}

    def until(self, wanted: dict[str, str]) -> None:
        """Orphaning, which comes before the end of a deleted object, is the garbage collector's work."""
        until(lambda: self.there() == wanted, f"{wanted} is there, and not {self.there()}")

    def happen(self) -> None:
        """Start capture, take the point, and change things behind it."""
        self.archiver.start()
        self.archiver.wait_for_baseline(f"agents/tools.proompteng.ai/tools@{self.space}")
        for name in ("changed", "gone", "same"):
            self.make(name, "one")
        last = self.plane.request("GET", path("Tool", self.space, "same"))
        self.durable(last)
        self.noted = to_text(SystemClock().now())
        second = SystemClock().now() // 1_000_000
        until(lambda: SystemClock().now() // 1_000_000 > second, "what comes now is of a later second")
        self.change("changed", "two")
        self.delete("gone")
        for name in ("new-1", "new-2"):
            self.make(name, "new")

    def durable(self, item: dict[str, Any]) -> None:
        stream, newest = f"agents/tools.proompteng.ai/tools@{self.space}", int(item["metadata"]["resourceVersion"])

        def position() -> int:
            found = self.archiver.source(stream)
            return int(found.get("position") or found.get("durable_position") or 0)

        self.archiver.wait(lambda: position() >= newest, "durable")

    @property
    def exact(self) -> tuple[str, ...]:
        return (
            "restore", "--at", self.noted, "--wait", "30", "--to", self.to, "--into-source",
            "--namespace", self.space, "--mode", "exact", "--delete", "2",
        )  # fmt: skip

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.commands.call(*arguments)

    def killed(self, arguments: tuple[str, ...], when: Callable[[], bool], what: str) -> None:
        """Run a command, and SIGKILL it as soon as ``when``."""
        command = [sys.executable, "-m", "archiver", "-c", str(self.archiver.config), *arguments]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
            try:
                until(lambda: when() or running.poll() is not None, what, 90)
                assert running.poll() is None, f"it ended by itself: {running.returncode}"
            finally:
                running.kill()


def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture
def rig(cluster: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(cluster, namespace, tmp_path)
    with made.archiver, made.commands:
        made.happen()
        yield made


@pytest.fixture
def proxy(cluster: ControlPlane) -> Iterator[HttpFaultProxy]:
    trust = ssl.create_default_context(cafile=str(cluster.ca))
    with HttpFaultProxy.start("127.0.0.1", cluster.port, server_tls=trust) as started:
        yield started


POINT = {"changed": "one", "gone": "one", "same": "one"}
BEFORE = {"changed": "two", "same": "one", "new-1": "new", "new-2": "new"}


def mark_of(done: subprocess.CompletedProcess[str]) -> str:
    """Under which a command recorded what it wrote."""
    found = re.search(r"^mark (\S+): ", done.stderr, re.MULTILINE)
    assert found, done.stderr
    return found[1]


def test_a_restore_is_undone_and_the_undo_too(rig: Rig) -> None:
    """What it created goes, what it replaced and deleted comes back, and what others changed since is refused by name until they say so."""
    done = rig.call(*rig.exact)
    assert done.returncode == 0, done.stderr + done.stdout
    mark = mark_of(done)
    rig.until(POINT)
    rig.change("gone", "theirs")
    rig.make("unrelated", "theirs")
    refused = rig.call("undo", mark, "--to", rig.to)
    assert refused.returncode == 3, refused.stderr
    told = " ".join(refused.stderr.split())
    assert (
        f"others changed 1 objects since ({TOOLS} {rig.space}/gone: the restore created it, and it was changed since in spec.image)" in told
    )
    assert rig.there() == {**POINT, "gone": "theirs", "unrelated": "theirs"}
    shown = rig.call("undo", "--to", rig.to, "--changed", "--dry-run", "--json")
    assert shown.returncode == 0, shown.stderr
    actions = json.loads(shown.stdout)["sources"][0]["plan"]["actions"]
    found = {action["name"]: action["finding"] for action in actions if action["resource"] == TOOLS}
    # Mode exact writes what it leaves unchanged too; there is nothing to put back of it.
    assert found == {"changed": "update", "gone": "delete", "new-1": "create", "new-2": "create", "same": "skipped"}
    undone = rig.call("undo", mark, "--to", rig.to, "--changed")
    assert undone.returncode == 0, undone.stderr + undone.stdout
    rig.until({**BEFORE, "unrelated": "theirs"})
    again = rig.call("undo", mark, "--to", rig.to)
    assert again.returncode == 0, again.stderr
    assert rig.there() == {**BEFORE, "unrelated": "theirs"}
    back = rig.call("undo", mark_of(undone), "--to", rig.to)
    assert back.returncode == 0, back.stderr
    rig.until({**POINT, "gone": "theirs", "unrelated": "theirs"})
    unknown = rig.call("undo", "nothing", "--to", rig.to)
    assert (unknown.returncode, "no restore with the mark 'nothing'" in unknown.stderr) == (2, True), unknown.stderr


def test_killed_on_the_way_and_run_again(rig: Rig, proxy: HttpFaultProxy) -> None:
    """SIGKILL between two deletions of a restore, and between two writes of its undo: run again, each comes to its end; and a restore that
    was killed half-way is undone to what was before it.
    """
    through = f"kubeconfig:{rig.plane.kubeconfig_for(rig.plane.admin_token, server=f'http://127.0.0.1:{proxy.port}')}"

    def never(method: str, name: str) -> None:
        def match(request: Request) -> bool:
            return request.method == method and request.target.partition("?")[0].endswith(name)

        proxy.answer(429, match=match, times=None, headers=(("retry-after", "1"),))

    def slowly(words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(through if word == rig.to else word for word in words)

    never("DELETE", "/new-2")
    rig.killed(slowly(rig.exact), lambda: "new-1" not in rig.there(), "the first is deleted")
    rig.until({**POINT, "new-2": "new"})
    never("PUT", "/changed")
    # Each puts a mark and a record of its own first; run again, the same restore is meant.
    undo = ("undo", "--to", rig.to)
    rig.killed(slowly(undo), lambda: "new-1" in rig.there(), "the first comes back")
    undone = rig.call(*undo)
    assert undone.returncode == 0, undone.stderr + undone.stdout
    rig.until(BEFORE)
    # A restore writes before it deletes; this one meets no obstacle to that.
    proxy.reset()
    never("DELETE", "/new-2")
    rig.killed(slowly(rig.exact), lambda: "new-1" not in rig.there(), "the first is deleted again")
    done = rig.call(*rig.exact)
    assert done.returncode == 0, done.stderr + done.stdout
    rig.until(POINT)


def test_what_is_stuck_costs_no_other_object_and_what_changes_meanwhile_refuses_the_undo(rig: Rig) -> None:
    """Nothing is written over what somebody changed since the plan. An object that waits for a dead finalizer is named, with exit code 8 and
    the mark to go on with, and everything else is undone.
    """
    done = rig.call(*rig.exact)
    assert done.returncode == 0, done.stderr + done.stdout
    mark = mark_of(done)
    rig.until(POINT)
    asyncio.run(_refused_for_a_late_change(rig, mark))
    assert rig.there() == {**POINT, "changed": "late"}
    rig.change("changed", "one")
    rig.plane.request("PATCH", path("Tool", rig.space, "changed"), {"metadata": {"finalizers": [FINALIZER]}}, content_type=PATCH)
    rig.delete("changed")
    undo = ("undo", mark, "--to", rig.to, "--changed")
    undone = rig.call(*undo)
    told = " ".join(undone.stderr.split())
    assert (undone.returncode, f"`archiver undo {mark}` again" in told) == (8, True), told
    assert f"{TOOLS} {rig.space}/changed: it is being deleted: undo again when it is gone" in told
    rig.until({**BEFORE, "changed": "one"})
    rig.plane.request("PATCH", path("Tool", rig.space, "changed"), {"metadata": {"finalizers": None}}, content_type=PATCH)
    rig.until({name: image for name, image in BEFORE.items() if name != "changed"})
    again = rig.call(*undo)
    assert again.returncode == 0, again.stderr + again.stdout
    assert rig.there() == BEFORE


async def _refused_for_a_late_change(rig: Rig, mark: str) -> None:
    """Somebody writes to an object between the plan of the undo and its first write."""
    store = await open_store(f"file://{rig.folder / 'journal'}", S3Options())
    try:
        reader = Reader(store)
        record = await find_record(reader, mark)
        options = Options(into_source=True, mode="exact")
        planned = await plan_undo(reader, record, Target("agents", "cluster", rig.to), options, SystemClock(), changed=False)
        try:
            await asyncio.to_thread(rig.change, "changed", "late")
            with pytest.raises(Refused, match="changed: was changed in the target since"):
                await planned.carry_out(lambda *_: None)
        finally:
            await planned.close()
    finally:
        await store.close()


def test_where_no_mark_can_be_put(rig: Rig) -> None:
    """An archiver that was killed answers nobody: what replaces or deletes is refused before anything is written, what only creates says
    that there is no undo, and a word permits the rest.
    """
    rig.durable(rig.plane.request("GET", path("Tool", rig.space, "new-2")))
    rig.archiver.kill()
    refused = rig.call(*rig.exact)
    told = " ".join(refused.stderr.split())
    assert (refused.returncode, "there would be no undo: the journal is not closed" in told, "--no-undo" in told) == (3, True, True), told
    assert rig.there() == BEFORE
    created = rig.call(*rig.exact[:-4])
    assert (created.returncode, "no undo: the journal is not closed" in " ".join(created.stderr.split())) == (0, True), created.stderr
    assert rig.there() == {**BEFORE, "gone": "one"}
    done = rig.call(*rig.exact, "--no-undo")
    assert done.returncode == 0, done.stderr
    rig.until(POINT)
