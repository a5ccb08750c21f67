"""The page for many: each sees what a real API server says they may read, and of nothing else so much as a number."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
import yaml
from playwright.async_api import async_playwright

from archiver.clock import SystemClock
from archiver.errors import ArchiverError, Corrupt, Unavailable
from archiver.journal.entry import Kind, Run
from archiver.journal.kept_segments import KeptSegments
from archiver.journal.limits import WriterLimits
from archiver.journal.reader import Reader
from archiver.journal.records import Gap
from archiver.journal.writer import Writer
from archiver.kubernetes.api import Api
from archiver.kubernetes.records import Listing, Resource, Watch
from archiver.maintenance.history_files import write_history
from archiver.store.directory import DirectoryStore
from archiver.timeline.counting import Counter
from archiver.timeline.reviews import KEPT_SECONDS, Reviews
from archiver.timeline.server import Reviewed, TimelineServer
from tests.servers import browser as browsers
from tests.servers.controlplane import ControlPlane
from tests.stories.timeline_archive import forge

MAPS = Resource("", "v1", "configmaps", "ConfigMap", namespaced=True)
STREAM = "kube/core/configmaps"
MISSED = ("events_missed", "2 objects differ, team-b/other-map among them")
"""Why there is a gap in the maps, and what is told of it."""
RUNS = "kind=agentruns.agents.proompteng.ai&namespace=agents&name=run-7"
SECRET = (b"run-7", b"agentruns", b"public.", b"other-map", b"team-b")
"""What whoever may read maps of ``team-a`` alone must not be told."""
ASKING = [
    {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
    {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
]
"""What the chart grants to the page."""
RBAC = "rbac.authorization.k8s.io"


class LateClock(SystemClock):
    """Is ``late`` seconds ahead."""

    late = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.late


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The forged archive, and maps of two teams, of which the files have some and the journal the others."""
    folder = tmp_path_factory.mktemp("reviews")
    asyncio.run(_forge(folder))
    return folder


async def _forge(folder: Path) -> None:
    await forge(folder)
    store, clock = DirectoryStore(folder), SystemClock()
    sources = {"db": "postgres", "kube": "kubernetes"}
    for part in range(2):
        writer = await Writer.open(
            store, clock, instance="story", version="0", sources=sources, limits=WriterLimits(puts_per_second=10_000)
        )
        written = asyncio.create_task(writer.run())
        await asyncio.sleep(0)
        if not part:
            watch = Watch("c", "s", MAPS, "", 0, "", "start")
            listing = Listing(MAPS, "", 0, "1", 0, 1, "start")
            await writer.append(Run.of(STREAM, Kind.K8S_WATCH, [msgspec.json.encode(watch)], observed=clock.now()))
            await writer.append(Run.of(STREAM, Kind.CHECKPOINT, [msgspec.json.encode(listing)], observed=clock.now(), position="1"))
        else:
            missed = Gap("resource configmaps.", *MISSED, "4", "11", 1, clock.now())
            await writer.append(Run.of(STREAM, Kind.GAP, [msgspec.json.encode(missed)], observed=clock.now()))
        for number, (namespace, name) in enumerate([("team-a", "my-map"), ("team-b", "other-map"), ("team-b", "other-map")], 10 * part + 2):
            metadata = {"name": name, "namespace": namespace, "uid": f"u-{name}", "resourceVersion": str(number)}
            thing = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"round": str(number)}}
            line = msgspec.json.encode({"type": "MODIFIED" if part or number > 3 else "ADDED", "object": thing})
            await writer.append(Run.of(STREAM, Kind.K8S_EVENT, [line], observed=clock.now(), position=str(number)))
        await writer.close()
        await written
        if not part:
            async for _ in write_history(Reader(store), clock):
                pass
    await store.close()


@pytest.fixture(scope="module")
def plane(cluster: ControlPlane) -> Iterator[ControlPlane]:
    """An API server of this module's own, with accounts of differing rights, and one that may ask for reviews."""
    with ControlPlane.start(etcd=cluster.etcd, prefix="/timeline-reviews") as plane:
        for name in ("archiver", "team-a", "team-b"):
            plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        for name in ("web", "nobody", "mapper", "reader", "owner", "leaver"):
            plane.request("POST", "/api/v1/namespaces/archiver/serviceaccounts", {"metadata": {"name": name}})
        _role(plane, "", "web", *ASKING)
        maps = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}
        runs = {"apiGroups": ["agents.proompteng.ai"], "resources": ["agentruns"], "verbs": ["list"]}
        database = {"apiGroups": ["archiver.proompteng.ai"], "resources": ["sources"], "resourceNames": ["db"], "verbs": ["get"]}
        everything = {**database, "resourceNames": ["db", "kube"]}
        _role(plane, "team-a", "mapper", maps)
        _role(plane, "", "reader", maps, runs)
        _role(plane, "archiver", "reader", database)
        _role(plane, "archiver", "owner", everything)
        _role(plane, "archiver", "leaver", everything)
        yield plane


def _role(plane: ControlPlane, namespace: str, name: str, *rules: dict[str, Any]) -> None:
    kind = "Role" if namespace else "ClusterRole"
    place = f"/apis/{RBAC}/v1/" + (f"namespaces/{namespace}/roles" if namespace else "clusterroles")
    plane.request("POST", place, {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": {"name": name}, "rules": list(rules)})
    _bind(plane, name, kind, name, namespace)


def _bind(plane: ControlPlane, account: str, kind: str, role: str, namespace: str = "") -> None:
    place = f"/apis/{RBAC}/v1/" + (f"namespaces/{namespace}/rolebindings" if namespace else "clusterrolebindings")
    subject = {"kind": "ServiceAccount", "name": account, "namespace": "archiver"}
    reference = {"apiGroup": RBAC, "kind": kind, "name": role}
    plane.request("POST", place, {"metadata": {"name": account}, "roleRef": reference, "subjects": [subject]})


class Page:
    """Asks as a browser does."""

    def __init__(self, place: tuple[str, int], clock: LateClock) -> None:
        self.place, self.clock = place, clock

    async def ask(self, question: str, token: str = "") -> tuple[int, bytes]:
        reader, writer = await asyncio.open_connection(*self.place)
        try:
            lines = [
                f"GET /api/{question} HTTP/1.1",
                f"Host: {self.place[0]}",
                *([f"Authorization: Bearer {token}"] if token else []),
                "",
                "",
            ]
            writer.write("\r\n".join(lines).encode())
            async with asyncio.timeout(60):
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
            await writer.wait_closed()
        return int(head.split()[1]), body

    async def drawn(self, token: str) -> Any:
        """The drawing, once all is there."""
        async with asyncio.timeout(60):
            while True:
                status, body = await self.ask("timeline", token)
                assert status == 200
                found = msgspec.json.decode(body)
                if found["windows"]["ready"] and not found["busy"]:
                    return found
                await asyncio.sleep(0.05)


@asynccontextmanager
async def serving(archive: Path, plane: ControlPlane, cluster: str = "kube", audience: str = "") -> AsyncIterator[Page]:
    clock, store = LateClock(), DirectoryStore(archive)
    kubeconfig = plane.kubeconfig_for(plane.service_account_token("archiver", "web"))
    api = await Api.open(clock, kubeconfig=str(kubeconfig))
    with KeptSegments() as kept:
        reviewed = Reviewed(Reviews(api, clock, namespace="archiver", audience=audience), cluster, "kubectl create token NAME")
        server = TimelineServer(store, kept, clock, ["archiver"], (), reviewed)
        try:
            yield Page(await server.start("127.0.0.1", 0), clock)
        finally:
            await server.stop()
            await api.close()
            await store.close()


def lanes(drawn: Any) -> dict[tuple[str, str], int]:
    return {(lane["source"], lane["name"]): lane["changes"] for lane in drawn["lanes"]}


async def test_each_sees_what_they_may_read(archive: Path, plane: ControlPlane) -> None:
    """Counts, lists, lives and commands: of everything for who may see the sources, of kinds in all namespaces or in one, or of nothing."""
    tokens = {name: plane.service_account_token("archiver", name) for name in ("nobody", "mapper", "reader", "owner")}
    maps = ("kube", "configmaps.")
    async with serving(archive, plane) as page:
        owner, reader = await page.drawn(tokens["owner"]), await page.drawn(tokens["reader"])
        assert lanes(owner).keys() == {("db", "public.runs"), ("db", "public.accounts"), ("kube", "agentruns.agents.proompteng.ai"), maps}
        assert (lanes(owner)[maps], owner["left_out"], reader["left_out"]) == (6, False, False)
        assert lanes(reader) == lanes(owner)
        assert [each["source"] for each in reader["windows"]["sources"]] == ["db", "kube/agents.proompteng.ai/agentruns", STREAM]
        drawn = await page.drawn(tokens["mapper"])
        assert (lanes(drawn), drawn["changes"], drawn["left_out"]) == ({maps: 2}, 2, True)
        assert [each["source"] for each in drawn["windows"]["sources"]] == [STREAM]
        nothing = await page.drawn(tokens["nobody"])
        assert (nothing["lanes"], nothing["changes"], nothing["windows"]["sources"], nothing["left_out"]) == ([], 0, [], True)
        listed = msgspec.json.decode((await page.ask("changes", tokens["owner"]))[1])
        assert ({each["name"] for each in listed["changes"]} > {"run-7"}, listed["left_out"]) == (True, False)
        mine = msgspec.json.decode((await page.ask("changes?find=map", tokens["mapper"]))[1])
        assert [(each["namespace"], each["name"]) for each in mine["changes"]] == [("team-a", "my-map")] * 2
        assert (mine["found"], mine["left_out"]) == (2, True)
        life = "life?source=kube&kind=configmaps.&namespace=team-a&name=my-map"
        for name, doubts in (("mapper", True), ("reader", False), ("owner", False)):
            status, body = await page.ask(life, tokens[name])
            told = msgspec.json.decode(body)
            assert (status, told["doubts_left_out"], len(told["states"])) == (200, doubts, 3)
            # That something was missed everybody is told; of what, those who may read it all.
            assert [(each["event"], each["detail"]) for each in told["states"]][1] == ("GAP", "" if doubts else f"{MISSED[0]} {MISSED[1]}")
            assert bool([word for word in SECRET if word in body]) is not doubts
        assert (await page.ask(f"life?source=kube&{RUNS}", tokens["reader"]))[0] == 200
        row = "life?source=db&table=public.runs&key=" + quote('{"id":"5"}')
        assert [(await page.ask(row, tokens[name]))[0] for name in ("owner", "reader", "mapper", "nobody")] == [200, 200, 403, 403]


async def test_nothing_else_is_told(archive: Path, plane: ControlPlane) -> None:
    """Whatever is asked, no answer has a name of what may not be read; and what is not there is refused as what may not be read is."""
    mapper, nobody = (plane.service_account_token("archiver", name) for name in ("mapper", "nobody"))
    async with serving(archive, plane) as page:
        await page.drawn(mapper)
        asked = [
            "timeline",
            "changes",
            "changes?source=db",
            "changes?source=none",
            "changes?source=kube",
            "changes?source=kube&kind=agentruns.agents.proompteng.ai",
            "changes?source=kube&kind=agentruns",
            "changes?source=kube&kind=nothing.",
            "changes?kind=configmaps.",
            "changes?find=other*",
            "changes?find=*run-7",
            "changes?table=public.runs",
        ]
        for question in asked:
            for token in (mapper, nobody):
                status, body = await page.ask(question, token)
                assert (status, [word for word in SECRET if word in body]) == (200, []), question
        refused = [
            f"source=kube&{RUNS}",
            "source=kube&kind=agentruns&namespace=agents&name=run-7",
            "source=kube&kind=configmaps.&namespace=team-b&name=other-map",
            "source=kube&kind=configmaps.&name=other-map",
            # A plural alone would be looked for in every group.
            "source=kube&kind=configmaps&namespace=team-a&name=my-map",
            "source=kube&kind=nothing.&namespace=team-a&name=my-map",
            "source=none&kind=configmaps.&namespace=team-a&name=my-map",
            "source=db&table=public.runs&key=" + quote('{"id":"5"}'),
        ]
        for question in refused:
            for way in ("life", "restore"):
                status, body = await page.ask(f"{way}?{question}&at=5", mapper)
                assert (status, b"run-7" in body, b"agentruns" in body) == (403, False, False), question
    async with serving(archive, plane, cluster="") as page:
        # The same kinds, of a cluster that is not the one that is asked.
        drawn = await page.drawn(mapper)
        assert (drawn["lanes"], drawn["windows"]["sources"], drawn["left_out"]) == ([], [], True)


async def test_the_first_answers_are_whole(archive: Path, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads one namespace is told as much by the first question as by the second; of what changed also while nothing is counted."""
    mapper = plane.service_account_token("archiver", "mapper")
    for name in ("PATIENCE_SECONDS", "WINDOW_SECONDS"):
        monkeypatch.setattr(f"archiver.timeline.server.{name}", 60.0)
    async with serving(archive, plane) as page:
        drawn = msgspec.json.decode((await page.ask("timeline", mapper))[1])
        if drawn["busy"] or not drawn["windows"]["ready"]:
            pytest.fail("it was to be waited for")
        assert (lanes(drawn), [each["source"] for each in drawn["windows"]["sources"]]) == ({("kube", "configmaps."): 2}, [STREAM])
    monkeypatch.setattr("archiver.timeline.server.PATIENCE_SECONDS", 0.0)

    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Counter, "_count_source", never)
    async with serving(archive, plane) as page:
        for question in ("changes", "changes?kind=configmaps.", "changes?source=kube"):
            status, body = await page.ask(question, mapper)
            found = msgspec.json.decode(body)
            assert (status, [word for word in SECRET if word in body], found["left_out"]) == (200, [], True)
            assert [(each["namespace"], each["name"]) for each in found["changes"]] == [("team-a", "my-map")] * 2


async def test_nothing_is_told_while_it_is_being_found(archive: Path, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first question on, counted or not, and whatever cannot be read: not so much as the name of a source."""
    nobody = plane.service_account_token("archiver", "nobody")
    monkeypatch.setattr("archiver.timeline.server.PATIENCE_SECONDS", 0.0)
    go_on = asyncio.Event()
    count = Counter._count_source

    async def held(*given: Any) -> None:
        await go_on.wait()
        raise Unavailable("public.runs of db cannot be read")

    monkeypatch.setattr(Counter, "_count_source", held)
    async with serving(archive, plane) as page:
        for part in range(30):
            status, body = await page.ask("timeline", nobody)
            found = msgspec.json.decode(body)
            assert (status, found["left_out"] or not part) == (200, True)
            assert (found["uncounted"], found["problems"], found["clusters"], found["lanes"], found["windows"]["sources"]) == (
                [],
                [],
                [],
                [],
                [],
            )
            if part == 5:
                go_on.set()
            if part == 20:
                monkeypatch.setattr(Counter, "_count_source", count)
            await asyncio.sleep(0.02)


async def test_what_cannot_be_read_is_named_to_its_readers(archive: Path, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads an object of one namespace, or of one kind, is told that something is broken, and not what: it may be another's."""
    tokens = {name: plane.service_account_token("archiver", name) for name in ("mapper", "reader", "owner")}

    error: ArchiverError = Corrupt("")

    async def broken(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr("archiver.timeline.answers.object_log", broken)
    monkeypatch.setattr("archiver.timeline.answers.SpanLog._begin", broken)
    said = "entry 7 of kube/agents.proompteng.ai/agentruns (team-b) is broken"
    life = "life?source=kube&kind=configmaps.&namespace=team-a&name=my-map"
    async with serving(archive, plane) as page:
        await page.drawn(tokens["mapper"])
        for error in (Corrupt(said, hint="see team-b"), Unavailable(said, hint="see team-b")):
            expected = 503 if isinstance(error, Unavailable) else 409
            for name, token in tokens.items():
                for question in (life, "changes?source=kube"):
                    status, body = await page.ask(question, token)
                    told = msgspec.json.decode(body)
                    named = [word for word in SECRET if word in body]
                    assert (status, bool(named), told["error"] == said) == (expected, name == "owner", name == "owner"), (name, body)
                    assert b"see" not in body


async def test_nobody_is_told_nothing(archive: Path, plane: ControlPlane) -> None:
    """Without a token, with one that is none, and with that of an account that was deleted: 401, and how to get one."""
    gone, mine = (plane.service_account_token("archiver", name) for name in ("leaver", "owner"))
    async with serving(archive, plane) as page:
        for token in ("", "x", "a b", "é", mine[:-2], "x" * 7500):
            for question in ("timeline", "changes", f"life?source=kube&{RUNS}", f"restore?source=kube&{RUNS}&at=5"):
                status, body = await page.ask(question, token)
                assert (status, b"kubectl create token NAME" in body, b"run-7" in body) == (401, True, False)
        assert (await page.ask("changes", gone))[0] == 200
        plane.request("DELETE", "/api/v1/namespaces/archiver/serviceaccounts/leaver")
        page.clock.late += KEPT_SECONDS
        async with asyncio.timeout(60):
            # The API server has its own cache of accounts.
            while (await page.ask("changes", gone))[0] != 401:
                page.clock.late += KEPT_SECONDS
                await asyncio.sleep(0.1)
        assert (await page.ask("changes", mine))[0] == 200


async def test_an_audience_of_its_own(archive: Path, plane: ControlPlane) -> None:
    """Tokens made for the page open nothing else; those for the API server do not open the page then."""
    place = "/api/v1/namespaces/archiver/serviceaccounts/owner/token"
    made = plane.request("POST", place, {"spec": {"audiences": ["timeline"], "expirationSeconds": 3600}})["status"]["token"]
    usual = plane.service_account_token("archiver", "owner")
    async with serving(archive, plane, audience="timeline") as page:
        assert [(await page.ask("changes", token))[0] for token in (made, usual)] == [200, 401]
    async with serving(archive, plane) as page:
        assert [(await page.ask("changes", token))[0] for token in (made, usual)] == [401, 200]


async def test_the_command_serves_many(archive: Path, plane: ControlPlane, tmp_path: Path) -> None:
    """With the settings' own cluster; it prints an address without a token, and refuses what does not fit."""
    kubeconfig = plane.kubeconfig_for(plane.service_account_token("archiver", "web"))
    settings = {
        "archive": {"url": archive.as_uri()},
        "sources": {"kube": {"kubernetes": {"resources": ["*.x"], "kubeconfig": str(kubeconfig)}}},
    }
    config = tmp_path / "archiver.yaml"
    config.write_text(yaml.safe_dump(settings))
    web = [sys.executable, "-m", "archiver", "-c", str(config), "web"]
    wrong = {
        ("--cluster", "kube"): "are about --reviews",
        ("--reviews", "--cluster", "kube"): "--reviews needs --namespace",
        ("--reviews", "--cluster", "cube", "--namespace", "archiver"): "did you mean kube?",
    }
    for words, said in wrong.items():
        done = await asyncio.to_thread(subprocess.run, [*web, *words], capture_output=True, text=True, check=False)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    command = [*web, "--reviews", "--cluster", "kube", "--namespace", "archiver"]
    served = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    try:
        assert served.stdout is not None
        async with asyncio.timeout(60):
            address = (await served.stdout.readline()).decode().strip()
        found = re.fullmatch(r"http://([\d.]+):(\d+)/", address)
        assert found, address
        page = Page((found[1], int(found[2])), LateClock())
        assert (await page.ask("timeline"))[0] == 401
        drawn = await page.drawn(plane.service_account_token("archiver", "mapper"))
        assert lanes(drawn) == {("kube", "configmaps."): 2}
    finally:
        served.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            await served.communicate()
    assert served.returncode == 0


async def test_without_an_answer_there_is_none(archive: Path, start_cluster: Callable[..., ControlPlane]) -> None:
    """Without rights to ask, and without an API server, also in the middle of things: 503, and nothing of the archive."""
    plane = start_cluster()
    plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": "archiver"}})
    for name in ("web", "owner"):
        plane.request("POST", "/api/v1/namespaces/archiver/serviceaccounts", {"metadata": {"name": name}})
    token = plane.service_account_token("archiver", "owner")
    questions = ["timeline", "changes", f"life?source=kube&{RUNS}", f"restore?source=kube&{RUNS}&at=5"]

    async def refused(page: Page) -> None:
        for question in questions:
            status, body = await page.ask(question, token)
            assert (status, [word for word in SECRET if word in body], b"does not tell" in body) == (503, [], True)

    async with serving(archive, plane) as page:
        await refused(page)
        _role(plane, "", "web", *ASKING)
        _bind(plane, "owner", "ClusterRole", "cluster-admin")
        async with asyncio.timeout(60):
            while (await page.ask("changes", token))[0] != 200:
                page.clock.late += KEPT_SECONDS
                await asyncio.sleep(0.1)
        assert (await page.ask("timeline", token))[0] == 200
        await asyncio.to_thread(plane.stop_apiserver)
        page.clock.late += KEPT_SECONDS
        await refused(page)


async def test_the_page_asks_for_a_token(archive: Path, plane: ControlPlane) -> None:
    """It says how to get one, takes it from a form, says that it left something out, and keeps it for the tab alone."""
    token = plane.service_account_token("archiver", "mapper")
    program = browsers.found()
    assert program, browsers.MISSING
    async with serving(archive, plane) as page, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--disable-dev-shm-usage", "--no-sandbox"])
        try:
            looked = await browser.new_page()
            looked.set_default_timeout(60_000)
            await looked.goto(f"http://127.0.0.1:{page.place[1]}/")
            await looked.get_by_text("kubectl create token NAME").wait_for()
            await looked.get_by_label("Token").fill("wrong")
            await looked.keyboard.press("Enter")
            await looked.get_by_text("nobody is known by that token").wait_for()
            await looked.get_by_label("Token").fill(f" {token} ")
            await looked.get_by_role("button", name="Open").click()
            await looked.get_by_text("What you may not read is left out here").wait_for()
            await looked.locator("#enter").wait_for(state="hidden")
            await looked.locator("#list button.open").first.click()
            await looked.locator("dialog article").first.wait_for()
            assert token not in looked.url
        finally:
            await browser.close()
