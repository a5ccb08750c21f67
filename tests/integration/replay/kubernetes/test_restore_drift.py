"""Restore into a cluster whose definitions are others by now, and into a folder."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from archiver.errors import Refused
from archiver.replay.kubernetes.restore import restore_to_folder
from archiver.replay.kubernetes.selection import RestoreScope
from archiver.replay.kubernetes.to_cluster import ClusterReport
from tests.servers.agents_world import differences, snapshot
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import definitions, path, plural
from tests.servers.http_proxy import HttpFaultProxy
from tests.servers.kubernetes_restore import Captured, capture_world, extra_definitions

Start = Callable[..., ControlPlane]


@pytest.fixture(scope="module")
def captured(cluster: ControlPlane) -> Captured:
    return capture_world(cluster)


def drifted() -> list[dict[str, Any]]:
    """Definitions of another time: AgentRun has lost a field, a ToolRun must say more, a Signal has no status subresource, no Artifacts yet."""
    found = []
    for each in definitions():
        version = each["spec"]["versions"][0]
        spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        match each["spec"]["names"]["kind"]:
            case "AgentRun":
                del spec["properties"]["parameters"]
            case "ToolRun":
                spec["required"] = ["retries"]
            case "Signal":
                del version["subresources"]
            case "Artifact":
                continue
        found.append(each)
    return found


async def test_what_definitions_of_another_time_do_not_take_is_reported_and_the_rest_comes_back(
    captured: Captured, start_cluster: Start
) -> None:
    """Fields that a schema drops are differences, objects that it refuses are failures, by object and path and without values; what depends
    on a failed object loses its owner and says so; everything else is as captured.
    """
    target = await asyncio.to_thread(start_cluster, definitions=drifted())
    prepared, report = await captured.restore(target, captured.world)
    space = captured.spaces[0]
    notes = [note for note in prepared.plan.notes if "is another one in the target" in note]
    assert len(notes) == 3
    of = {kind: [name for known, _, name in captured.wanted if known == kind] for kind in ("AgentRun", "ToolRun")}
    assert of["ToolRun"]
    failed = [f"toolruns.tools.proompteng.ai {space}/{name}: 422 Invalid: spec.retries (FieldValueRequired)" for name in of["ToolRun"]]
    assert sorted(report.failures) == sorted(failed)
    dropped = [name for name in of["AgentRun"] if "parameters" in captured.wanted["AgentRun", space, name]["spec"]]
    assert report.differences == sorted(f"agentruns.agents.proompteng.ai {space}/{name}: spec.parameters" for name in dropped)
    there = snapshot(target, space)
    left = differences(captured.wanted, there)
    touched = {("AgentRun", space, name) for name in dropped} | {("ToolRun", space, name) for name in of["ToolRun"]}
    orphans = {key for key, item in captured.wanted.items() if key not in there or _owner(item) == "ToolRun"}
    assert len(report.orphans) == sum(_owner(captured.wanted[key]) == "ToolRun" for key in captured.wanted) > 0
    assert [line for line in left if not any(str(key) in line for key in touched | orphans)] == []
    run = next(key for key in there if key[0] == "AgentRun")
    assert report.uids[captured.wanted[run]["metadata"]["uid"]] == there[run]["metadata"]["uid"]


async def test_an_owner_that_is_skipped_is_the_one_of_the_target(captured: Captured, start_cluster: Start) -> None:
    """What a definition owns is owned by the target's definition of that name: by its captured UID, the collector would take it."""
    target = await asyncio.to_thread(lambda: start_cluster(definitions=[*definitions(), *extra_definitions()]))
    prepared, report = await captured.restore(target, RestoreScope(frozenset({"toolruns", "zones", "agentruns"})))
    assert not [line for line in (*report.orphans, *prepared.plan.orphans) if "of-definition" in line]
    owner = target.request("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/zones.extra.example.org")
    (reference,) = target.request("GET", path("ToolRun", captured.spaces[1], "of-definition"))["metadata"]["ownerReferences"]
    assert reference["uid"] == owner["metadata"]["uid"]


async def test_why_a_definition_was_not_taken_is_told(captured: Captured, start_cluster: Start) -> None:
    """Without its definition a kind is not served: the error says what the server said to it."""
    target = await asyncio.to_thread(start_cluster)
    with HttpFaultProxy.start("127.0.0.1", target.port, server_tls=ssl.create_default_context(cafile=str(target.ca))) as proxy:
        proxy.answer(403, match=lambda request: request.method == "POST" and "customresourcedefinitions" in request.target, times=None)
        kubeconfig = target.kubeconfig_for(target.admin_token, server=f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(Refused, match=r"does not serve .*its definition was not taken: 403"):
            await captured.restore(kubeconfig, captured.world)


async def test_what_is_there_of_a_restore_that_stopped_is_neither_denied_nor_passed_over(captured: Captured, start_cluster: Start) -> None:
    """A kind whose definition was not taken is named with its objects, and the others come back. An object without its status is named at
    each further restore, and is mended by the mode that the hint names.
    """
    target = await asyncio.to_thread(start_cluster)

    async def restore(method: str, inside: str, **options: Any) -> ClusterReport:
        """The first request of that sort is not taken."""
        with HttpFaultProxy.start("127.0.0.1", target.port, server_tls=ssl.create_default_context(cafile=str(target.ca))) as proxy:
            proxy.answer(422, match=lambda request: request.method == method and inside in request.target)
            kubeconfig = target.kubeconfig_for(target.admin_token, server=f"http://127.0.0.1:{proxy.port}")
            return (await captured.restore(kubeconfig, captured.world, **options))[1]

    lacking_kind = await restore("POST", "customresourcedefinitions")
    assert lacking_kind.failures[0].endswith(": 422")
    assert {line.partition(": ")[2] for line in lacking_kind.failures[1:]} <= {"its kind is not served: its definition was not taken: 422"}
    assert lacking_kind.created > 0
    first = await restore("PUT", "/status")
    (failure,) = first.failures
    lacking, _, told = failure.partition(" status: ")
    assert told.startswith("422")
    again = await restore("PUT", "nothing of it")
    assert (again.problems, again.created) == ([], 0)
    assert [line for line in again.kept if line.startswith(f"{lacking}: ") and "status" in line]
    exact = await restore("PUT", "nothing of it", mode="exact")
    assert (exact.problems, exact.kept) == ([], [])
    assert differences(captured.wanted, snapshot(target, captured.spaces[0])) == []


def _owner(item: dict[str, Any]) -> str:
    return str(next((reference["kind"] for reference in item["metadata"].get("ownerReferences", [])), ""))


async def test_a_folder_is_what_kubectl_applies(captured: Captured, start_cluster: Start, tmp_path: Path) -> None:
    """Into a folder, twice the same bytes; kubectl brings it back by the commands of its manifest, and what is then there is what was
    captured, statuses too, but for owners.
    """
    prepared = await captured.plan(None)
    folders = [tmp_path / "one", tmp_path / "two"]
    reports = [restore_to_folder(prepared, folder) for folder in folders]
    assert reports[0].files == sum(1 for _ in folders[0].rglob("*.yaml"))
    one, two = ({file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()} for folder in folders)
    assert one == two
    with pytest.raises(Refused, match="is not empty"):
        restore_to_folder(prepared, folders[0])
    (folders[0] / "mine.txt").write_text("stays")
    narrow = await captured.plan(None, captured.world)
    restore_to_folder(narrow, folders[0], overwrite=True)
    assert not (folders[0] / "objects" / captured.spaces[1] / "plains.extra.example.org" / "p.yaml").exists()
    assert (folders[0] / "mine.txt").exists()
    target = await asyncio.to_thread(start_cluster)
    manifest = msgspec.json.decode((folders[1] / "manifest.json").read_bytes())
    assert len(manifest["commands"]) == 5
    for command in manifest["commands"]:
        _, *words = command.split()
        # A kind without the status subresource has its status from `create`, and says so.
        target.kubectl(*words[:-1], folders[1] / words[-1], check="--subresource=status" not in words)
    there = snapshot(target, captured.spaces[0])
    wanted = {}
    for key, item in captured.wanted.items():
        metadata = {name: value for name, value in item["metadata"].items() if name != "ownerReferences"}
        wanted[key] = {**item, "metadata": metadata}
    assert differences(wanted, there) == []
    for place, item in captured.special.items():
        if "plains" in place:
            assert target.request("GET", place)["status"] == item["status"]
    owned = {(line["resource"], line["namespace"], line["name"]): line["owners"] for line in manifest["objects"] if line["owners"]}
    for kind, space, name in captured.wanted:
        references = captured.wanted[kind, space, name]["metadata"].get("ownerReferences", [])
        found = [owners for key, owners in owned.items() if key[0].startswith(f"{plural(kind)}.") and key[1:] == (space, name)]
        assert found == ([[reference["uid"] for reference in references]] if references else [])


NUMBERS = ["1e3", "0x1f", "0o17", "017", "1_000", "1:30", ".5", "1.", "+1", "-", ".inf", ".nan", "2026-11-23", "2026-11-23T10:00:00Z"]
WORDS = [
    "~",
    "null",
    "Null",
    "y",
    "N",
    "yes",
    "on",
    "OFF",
    "true",
    "=",
    "<<",
    "&a",
    "*a",
    "@x",
    "`x",
    "%x",
    "[a",
    "{a",
    '"',
    "'",
    "\\",
    "\\n",
]
LINES = ["a\nb", "a\nb\n", "a\n\n", "\na", " a\nb", "a \nb", "a\r\nb", "a\rb", "a\\\nb", "\u00e4\u00f6\nn\u00e4chste", "\U0001f600\nb"]
SPACES = ["", " ", " lead", "trail ", "tab\t", "\ttab", "\u0085", "a\u2028b", "\u200b", "\U0001f600", "x" * 500, "w " * 200]
SYNTAX = ["\x7f", "\ufeff", "!!int 1", "# no", "a: b", "a #b", "- a", "? a"]
NASTY = [*NUMBERS, *WORDS, *LINES, *SPACES, *SYNTAX]


async def test_kubectl_reads_every_text_as_it_was(start_cluster: Start, captured: Captured, tmp_path: Path) -> None:
    """Texts that YAML readers take for numbers, dates, booleans or syntax, as values and as keys, survive file and kubectl. (Some would not
    survive any server-side apply: there the API server reads kubectl's JSON as YAML.) So do signs that YAML has no plain form for.
    """
    source = captured.plane
    space = captured.spaces[1]
    spec = {
        "payload": {"values": NASTY, "keys": {text: text for text in NASTY}, "numbers": [1, 1.5, 1e20, -0.25, 9007199254740993, True, None]}
    }
    body = {"apiVersion": "signals.proompteng.ai/v1alpha1", "kind": "Signal", "metadata": {"name": "nasty"}, "spec": spec}
    made = source.request("POST", path("Signal", space), body)
    prepared = await captured.plan(None)
    key = ("signals.signals.proompteng.ai", space, "nasty")
    prepared.objects.by_key = {key: made}
    action = msgspec.structs.replace(prepared.plan.actions[-1], do="create", resource=key[0], namespace=space, name="nasty")
    prepared.plan.actions, prepared.plan.gaps = [action], []
    restore_to_folder(prepared, tmp_path / "out")
    file = tmp_path / "out" / "objects" / space / key[0] / "nasty.yaml"
    assert yaml.safe_load(file.read_text(encoding="utf-8"))["spec"] == made["spec"]
    target = await asyncio.to_thread(
        start_cluster, definitions=[each for each in definitions() if each["spec"]["names"]["kind"] == "Signal"]
    )
    target.kubectl("apply", "--server-side", "-f", tmp_path / "out" / "namespaces")
    target.kubectl("create", "-f", file)
    assert target.request("GET", path("Signal", space, "nasty"))["spec"] == made["spec"]
