"""The demo is told to its good end; what it leaves answers an auditor, and its page is that of the docs."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template

import pytest
import yaml
from playwright.sync_api import Browser, Locator, Page, expect

from demo.page import page as page_of
from tests.servers.browser import browsing, looking
from tests.servers.warm_commands import WarmCommands
from tests.stories.pictures import picture

ROOT = Path(__file__).parent.parent.parent
AGENT, RUN = "agents.agents.proompteng.ai/agents/agent-0", "agentruns.agents.proompteng.ai"


@dataclass
class Told:
    """What the demo said, and the folder that it left."""

    said: str
    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "archiver.yaml"

    @property
    def second(self) -> str:
        found = re.search(r"the second is (\S+)", self.said)
        assert found
        return found[1]


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    """``make demo ARGS=--keep`` without a terminal."""
    done = subprocess.run([sys.executable, "-m", "demo", "--keep"], cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    place = re.search(r"archiver -c (\S+)/archiver.yaml web", done.stdout)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        assert place, done.stdout
        yield Told(done.stdout, Path(place[1]))
    finally:
        if place is not None:
            shutil.rmtree(place[1])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as found:
        yield found


def drawn(page: Page) -> None:
    expect(page.locator("#state")).to_contain_text("one bar is")
    for each in ("Still counting", "Reading the journal"):
        expect(page.locator("#state")).not_to_contain_text(each)


def tab_to(page: Page, wanted: Locator) -> None:
    """By Tab alone, as whoever has no mouse."""
    expect(wanted).to_be_visible()
    for _ in range(80):
        if wanted.evaluate("(it) => it === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError("the keyboard does not get there")


@pytest.mark.timeout(600)
def test_demo_brings_everything_back(told: Told) -> None:
    """``make demo`` ends with proof that everything noted at the second is there again; then it asks, and takes single things back."""
    assert "everything came back exactly as it was" in told.said
    for each in ("$ archiver log ", "$ archiver diff ", "--into-schema restored", "spec.limit", "cleanup-script"):
        assert each in told.said
    back = list((told.folder / "agent-0/objects").rglob("*.yaml"))
    assert [yaml.safe_load(file.read_text())["spec"]["limit"] for file in back] == [10]


@pytest.mark.timeout(600)
def test_ten_questions_of_an_auditor(told: Told) -> None:
    """Each command of the how-to answers about the demo's disaster, with the names that the how-to gives for it."""
    guide = (ROOT / "docs/howto/audit.md").read_text()
    commands = re.findall(r"```sh\narchiver (.*)\n```", guide)
    instead = dict(re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|$", guide, re.MULTILINE))
    assert len(instead) == 6
    with WarmCommands(told.config) as commands_of:
        lines = commands_of.call("log", "--json", "--source", "agents-db", "--from", told.second, "--operation", "drop")
        dropped = [json.loads(line) for line in lines.stdout.splitlines()]
        assert dropped[0]["table"] == "public.memories"
        lines = commands_of.call(
            "log", "--json", "--from", told.second, "--table", "public.runs", "--like", "id=1", "--operation", "update"
        )
        (spoilt,) = [json.loads(line) for line in lines.stdout.splitlines() if "transaction" in line]
        names = {"FROM": told.second, "UNTIL": "latest", "XID": str(spoilt["transaction"])}
        said = []
        for text in commands:
            here = text
            for one, other in instead.items():
                here = here.replace(one, other)
            answer = commands_of.call(*shlex.split(Template(here).substitute(names)))
            # A table that was not there before, and a schema that changed while it was read: that is said, and is no failure.
            gap = answer.returncode == 3 and re.search("table public.budgets: table_added|schema_uncertain", answer.stderr)
            assert answer.returncode == 0 or gap, (here, answer.stderr)
            said.append(answer.stdout)
    assert len(said) == 10
    assert "public.memories" in said[0]
    assert "spec.limit: 10 -> 1" in said[1]
    assert "cleanup-script (Update)" in said[1]
    assert "public.runs id=1\n" in said[2]
    assert "state: succeeded -> failed" in said[2]
    assert " deleted " in said[3]
    assert " drop " in said[3]
    assert "agents/agent-4" in said[4]
    assert "agents-controller" not in said[4]
    assert "embedding" in said[5]
    assert "DROP TABLE" in said[5]
    assert "UPDATE" in said[6]
    assert "id=2" in said[7]
    assert "id=1\n" not in said[7]
    assert said[8].splitlines()[0].startswith('"entry","at","time"')
    assert ("GAP" in said[9]) == bool(answer.returncode)


@pytest.mark.timeout(600)
def test_a_new_user_without_a_mouse(told: Told, browser: Browser) -> None:
    """On the page alone: the minute, one run in it, who changed it, and the command, which brings it back as it was."""
    with WarmCommands(told.config) as commands:
        words = ("log", "--json", "--kind", RUN, "--manager", "cleanup-script", "--operation", "modified")
        run = json.loads(commands.call(*words).stdout.splitlines()[0])["name"]
    with page_of(told.config) as address, looking(browser, address, height=1000) as page:
        drawn(page)
        expect(page.locator("#told")).to_contain_text(re.compile("find one by its key or name|zoom in to see them"))
        picture(page, told.folder, "timeline")
        tab_to(page, page.get_by_label("Find"))
        page.keyboard.type(run)
        page.keyboard.press("Enter")
        changed = page.locator("#list li").filter(has_text=f"agentruns.agents.proompteng.ai agents/{run}").filter(has_text="cleanup-script")
        expect(changed).to_have_count(1)
        tab_to(page, changed.get_by_role("button"))
        page.keyboard.press("Enter")
        asked = page.locator("article[aria-current=true]")
        expect(asked).to_contain_text("by cleanup-script (Update)")
        tab_to(page, asked.get_by_role("button", name="Restore to before this"))
        page.keyboard.press("Enter")
        command = asked.locator("pre:has(code)").nth(1)
        tab_to(page, command)
        text = command.inner_text()
        picture(page, told.folder, "timeline-life")
    way = shlex.split(text)
    subprocess.run([sys.executable, "-m", *way[: way.index("--to")], "--to", "run"], cwd=told.folder, check=True, capture_output=True)
    (file,) = (told.folder / "run/objects").rglob("*.yaml")
    found = yaml.safe_load(file.read_text())
    assert (found["metadata"]["name"], bool(found["metadata"]["finalizers"])) == (run, True)


@pytest.mark.timeout(600)
def test_what_the_demo_did_not_know(told: Told, browser: Browser) -> None:
    """The table that the migration made was not heard of before: a gap of it alone, drawn, and told where it is listed."""
    with page_of(told.config) as address:
        with looking(browser, address, height=1000) as page:
            drawn(page)
            expect(page.locator("#field rect.gap.part title", has_text="table public.budgets, table_added")).to_have_count(1)
            page.get_by_label("Table or kind").select_option(label="agents-db: public.budgets")
            expect(page.locator("#doubts")).to_contain_text("Not known: agents-db: table public.budgets")
            picture(page, told.folder, "timeline-gap")
        with looking(browser, address, width=400, height=850, color_scheme="dark") as page:
            drawn(page)
            assert page.evaluate("document.documentElement.scrollWidth") == 400
            picture(page, told.folder, "timeline-narrow")
