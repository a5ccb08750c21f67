"""Points at which a cluster's past is not wholly known: every answer says so, and all say the same."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from archiver.clock import SystemClock, to_text
from tests.servers.archiver import Archiver
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, definitions, path

SPACE = "default"
PLACE = path("Tool", SPACE)
STREAM = "k/tools.proompteng.ai/tools"


def point() -> str:
    """A time with more than a second between it and what was written before and after."""
    time.sleep(1.2)
    found = to_text(SystemClock().now())
    time.sleep(1.2)
    return found


def write(plane: ControlPlane, name: str, image: str) -> None:
    plane.request("POST", PLACE, custom_resource("Tool", SPACE, name, {"image": image}))


def patch(plane: ControlPlane, name: str, body: dict[str, Any], who: str) -> None:
    plane.request("PATCH", f"{PLACE}/{name}?fieldManager={who}", body, content_type="application/merge-patch+json")


def answer(archiver: Archiver, *words: str) -> tuple[int, Any, str]:
    done = archiver.call(*words, "--source", "k", "--json")
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def restored(archiver: Archiver, at: str, folder: Path, *more: str) -> tuple[int, dict[str, str], str]:
    """Exit code, name -> image, and what it said."""
    done = archiver.call("restore", "--at", at, "--source", "k", "--to", str(folder), *more)
    files = {file.stem: file.read_text().partition("image: ")[2].strip() for file in (folder / "objects").rglob("*.yaml")}
    return done.returncode, files, done.stdout + done.stderr


def test_points_while_the_archiver_was_away(start_cluster: Callable[..., ControlPlane], tmp_path: Path) -> None:
    """What came late counts as of when it says that it happened, in restores, show, diff and log alike; what does not say it is a gap."""
    plane = start_cluster(definitions=[each for each in definitions() if each["spec"]["names"]["kind"] == "Tool"])
    source = {"resources": ["*.tools.proompteng.ai"], "kubeconfig": str(plane.kubeconfig), "discovery_seconds": 2}
    early = to_text(SystemClock().now())
    with Archiver(tmp_path, {"k": {"kubernetes": source}}) as archiver:
        archiver.start()
        archiver.wait_for_baseline(STREAM)
        for name in ("one", "three"):
            write(plane, name, "first")
        archiver.wait(lambda: archiver.source(STREAM)["observed"] and "ADDED" in archiver.call(*log("three")).stdout, "not captured")
        assert archiver.stop() == 0
        before = point()
        write(plane, "two", "first")
        patch(plane, "one", {"spec": {"image": "second"}}, "cook")
        inside = point()
        write(plane, "four", "first")
        plane.request("DELETE", f"{PLACE}/three")
        doubtful = point()
        archiver.start()
        archiver.wait(lambda: "DELETED" in archiver.call(*log("three")).stdout, "not captured")
        patch(plane, "one", {"metadata": {"labels": {"a": "b"}}}, "cook")
        patch(plane, "one", {"metadata": {"labels": {"a": None}}}, "thief")
        archiver.wait(lambda: archiver.call(*log("one")).stdout.count("MODIFIED") == 3, "not captured")
        assert archiver.stop() == 0

    for at, files in ((before, {"one": "first", "three": "first"}), (inside, {"one": "second", "two": "first", "three": "first"})):
        code, found, said = restored(archiver, at, tmp_path / f"out-{at}")
        assert (code, found) == (0, files), said
        assert "nobody watched from" in said
        assert any("nobody watched from" in doubt for doubt in json.loads((tmp_path / f"out-{at}/manifest.json").read_text())["doubts"])
    code, found, said = restored(archiver, doubtful, tmp_path / "refused")
    assert (code, found) == (3, {})
    assert "default/three" in said
    code, found, said = restored(archiver, doubtful, tmp_path / "allowed", "--allow-gaps")
    assert (code, found) == (0, {"one": "second", "two": "first", "four": "first", "three": "first"})
    assert "default/three" in said

    code, plan, _ = answer(archiver, "restore", "--at", inside, "--dry-run")
    assert (code, len(plan["sources"][0]["doubts"])) == (0, 1)
    code, report, _ = answer(archiver, "restore", "--at", inside, "--to", str(tmp_path / "as-json"))
    assert report["sources"][0]["doubts"] == plan["sources"][0]["doubts"]
    code, report, _ = answer(archiver, "drill", "--at", inside, "--scratch-folder", str(tmp_path / "drill"))
    assert report["doubts"] == [f"k: {doubt}" for doubt in plan["sources"][0]["doubts"]]
    assert archiver.call("drill", "--at", doubtful, "--scratch-folder", str(tmp_path / "drill")).returncode == 3

    code, shown, said = answer(archiver, "show", *thing("two"), "--at", inside)
    assert (code, shown["state"]["spec"], shown["gaps"], len(shown["notes"])) == (0, {"image": "first"}, [], 1)
    assert "note: " in said
    code, shown, said = answer(archiver, "show", *thing("two"), "--at", before)
    assert (code, shown["state"], shown["gaps"]) == (1, None, [])
    code, shown, said = answer(archiver, "show", *thing("three"), "--at", doubtful)
    assert len(shown["gaps"]) == 1
    assert "gap: " in said
    nothing = archiver.call("show", "--source", "k", *thing("three"), "--at", early)
    assert nothing.returncode == 1
    assert "it is not known whether it existed then" in nothing.stderr
    code, compared, _ = answer(archiver, "diff", *thing("one"), "--from", before, "--until", inside)
    assert [line["after"] for line in compared["changes"]] == ["second"]
    assert len(compared["notes"]["until"]) == 1
    code, compared, said = answer(archiver, "diff", *thing("three"), "--from", before, "--until", doubtful)
    assert (len(compared["gaps"]["until"]), "gap: --until: " in said) == (1, True)

    code, changes, _ = answer(archiver, "log", *thing("one"))
    assert [change["manager"].partition(" ")[0] for change in changes] == ["Python-urllib", "cook", "cook", ""]
    assert changes[1]["since"] < changes[1]["until"] < changes[1]["observed"]
    assert (changes[2]["since"], changes[2]["until"]) == (0, 0)
    code, changes, _ = answer(archiver, "log", *thing("three"))
    assert (changes[-1]["event"], changes[-1]["manager"]) == ("DELETED", "")
    code, changes, _ = answer(archiver, "log", *thing("three"), "--until", doubtful)
    assert [change["event"] for change in changes] == ["ADDED", "UNKNOWN", "NOTE"]

    assert spanned(archiver, before, inside) == (0, [("added", "two"), ("modified", "one")], [("note", "nobody watched from")])
    assert spanned(archiver, inside, doubtful) == (3, [("added", "four")], [("unknown", "of 1 changes"), ("note", "nobody watched from")])
    assert spanned(archiver, doubtful, "latest") == (
        3,
        [("deleted", "three"), ("modified", "one"), ("modified", "one")],
        [("unknown", "of 1 changes"), ("note", "nobody watched from")],
    )
    assert spanned(archiver, early, before) == (
        3,
        [("added", "one"), ("added", "three")],
        [("unknown", "nothing is known"), ("note", "nobody watched from")],
    )

    future = to_text(SystemClock().now() + 3_600_000_000)
    to = ("--to", str(tmp_path / "future"))
    for words in (
        ("restore", "--source", "k", "--at", future, *to),
        ("restore", "--source", "k", "--at", future, *to, "--wait", "1"),
        ("show", "--source", "k", *thing("one"), "--at", future),
        ("diff", "--source", "k", *thing("one"), "--from", before, "--until", future),
        ("drill", "--source", "k", "--at", future, "--scratch-folder", str(tmp_path / "drill")),
    ):
        late = archiver.call(*words)
        assert (late.returncode, "the journal ends" in late.stdout + late.stderr) == (2, True), (words, late.stdout, late.stderr)
    assert not (tmp_path / "future").exists()


def spanned(archiver: Archiver, start: str, end: str) -> tuple[int, list[tuple[str, str]], list[tuple[str, str]]]:
    """Exit code of ``log`` between two points, what changed, and what is said to be doubtful."""
    done = archiver.call("log", "--source", "k", "--kind", "tools", "--from", start, "--until", end, "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    changes = [(line["operation"], line["name"]) for line in lines if "name" in line]
    said = [(line["operation"], line["detail"]) for line in lines if line["operation"] in ("unknown", "note", "gap")]
    return done.returncode, changes, [(word, " ".join(text.split(": ", 1)[1].split()[:3])) for word, text in said]


def thing(name: str) -> tuple[str, str]:
    return "--object", f"tools.tools.proompteng.ai/{SPACE}/{name}"


def log(name: str) -> tuple[str, ...]:
    return "log", "--source", "k", *thing(name)
