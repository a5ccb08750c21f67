"""The timeline page in a browser: what a user looks for is found, by hand and by keyboard, on any width, and nobody's text does anything."""

from __future__ import annotations

import asyncio
import http.client
import io
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from playwright.sync_api import Browser, Page, Route, expect
from rich.console import Console

from demo.__main__ import show
from demo.page import page as page_of
from tests.servers.browser import browsing, looking
from tests.servers.warm_commands import WarmCommands
from tests.stories.timeline_archive import AWKWARD, BAD, MINUTE, SCRIPT, forge

SPAN = f"since={BAD // MINUTE * MINUTE}&until={BAD // MINUTE * MINUTE + MINUTE}"


@dataclass
class Served:
    """The page of the forged archive."""

    folder: Path
    address: str
    browser: Browser

    @property
    def place(self) -> tuple[str, int]:
        found = re.match(r"http://([\d.]+):(\d+)/#token=", self.address)
        assert found
        return found[1], int(found[2])

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(*self.place, timeout=30)
        try:
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()


def test_the_demo_ends_with_the_page(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """It prints the page's address, which ends with it; without a terminal it prints the command alone, and does not wait."""
    with page_of(served.folder / "archiver.yaml") as address, looking(served.browser, address) as page:
        expect(page.locator("#state")).to_contain_text("one bar is")
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(address, timeout=30)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    told = Console(record=True, file=io.StringIO(), width=200)
    show(served.folder / "archiver.yaml", told)
    assert f"archiver -c {served.folder}/archiver.yaml web" in told.export_text()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One archive, one server and one browser for all of them: the page only reads."""
    folder = tmp_path_factory.mktemp("timeline")
    config = folder / "archiver.yaml"
    config.write_text(yaml.safe_dump({"archive": {"url": f"file://{folder}/journal"}}))
    asyncio.run(forge(folder / "journal"))
    command = [sys.executable, "-m", "archiver", "-c", str(config), "web", "--port", "0", "--host", "127.0.0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as process:
        try:
            assert process.stdout
            address = process.stdout.readline().strip()
            with browsing() as browser:
                yield Served(folder, address, browser)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


def at_the_minute(served: Served, **more: Any) -> Any:
    return looking(served.browser, f"{served.address}&{SPAN}", **more)


def drawn(page: Page, step: str) -> None:
    expect(page.locator("#state")).to_contain_text(f"one bar is {step}")
    expect(page.locator("#state")).not_to_contain_text("Still counting")
    expect(page.locator("#state")).not_to_contain_text("Reading the journal")


def printed(page: Page) -> list[str]:
    """The commands of the change that was opened."""
    commands = page.locator("article[aria-current=true] code")
    expect(commands).to_have_count(3)
    return commands.all_inner_texts()


def test_from_six_hours_to_who_did_it_and_the_way_back(served: Served) -> None:
    """By mouse: the whole, the minute that looks wrong, the run that was spoilt, by whom, and commands that bring it back when they are run."""
    with looking(served.browser, served.address) as page:
        drawn(page, "2 minutes")
        assert "token" not in page.url
        expect(page.locator("#span")).to_have_text("2026-11-24 06:00:00 – 12:00:00 UTC")
        expect(page.locator("#field rect.gap")).to_have_count(1)
        expect(page.locator("#field .drill")).to_have_count(2)
        expect(page.locator("#field .drill").first).to_have_attribute("title", "drill passed 2026-11-24 08:10:00 UTC")
        box = page.locator("#field").bounding_box()
        assert box
        left, wide = box["x"], box["width"]
        middle = box["y"] + box["height"] / 2
        # From 10:04 to 10:12, of the six hours.
        page.mouse.move(left + wide * 245 / 360, middle)
        page.mouse.down()
        page.mouse.move(left + wide * 251 / 360, middle, steps=4)
        page.mouse.up()
        drawn(page, "2 seconds")
        page.get_by_role("button", name="Zoom in", exact=True).click()
        page.get_by_label("Find").fill("run-7")
        page.get_by_label("Find").press("Enter")
        lines = page.locator("#list li")
        expect(lines.filter(has_text="mallory-cli")).to_have_count(1)
        expect(lines.filter(has_text="deleted")).to_have_count(1)
        lines.filter(has_text="mallory-cli").get_by_role("button").click()
        spoilt = page.locator("article[aria-current=true]")
        expect(spoilt).to_contain_text("by mallory-cli (Update)")
        expect(spoilt.locator("del").first).to_have_text("cook")
        expect(spoilt.locator("ins").first).to_have_text("nobody")
        spoilt.get_by_role("button", name="Restore to before this").click()
        commands = printed(page)
    words = shlex.split(commands[1])
    assert [shlex.split(each) for each in commands] == [[*words, "--dry-run"], words, [*words, "--mode", "exact"]]
    at = words.index("--to")
    assert words[at:] == ["--to", "kubeconfig:$LIVE", "--into-source"]
    subprocess.run([sys.executable, "-m", *words[:at], "--to", "back"], cwd=served.folder, check=True, capture_output=True)
    files = sorted((served.folder / "back/objects").rglob("*.yaml"))
    assert [file.name for file in files] == ["run-7.yaml"]
    assert yaml.safe_load(files[0].read_text())["spec"]["agentRef"]["name"] == "cook"


@pytest.mark.postgres(18)
def test_the_command_of_a_row_brings_it_back(served: Served, database: str) -> None:
    """A cancelled row, and one whose key is an attack on shells and terminals: what is pasted does what it says, and nothing else."""
    with psycopg.connect(database, autocommit=True) as session:
        session.execute("CREATE TABLE runs (id text PRIMARY KEY, name text, state text, note text)")
        session.execute("INSERT INTO runs VALUES ('5', 'run-5', 'cancelled', NULL), ('6', 'kept', 'kept', 'kept')")
        found = {}
        with at_the_minute(served) as page:
            drawn(page, "1 second")
            page.locator("#list li").filter(has_text="cancelled").get_by_role("button").click()
            page.locator("article[aria-current=true]").get_by_role("button", name="Restore to before this").click()
            found["5"] = printed(page)
            page.keyboard.press("Escape")
            page.locator("#list li").filter(has_text="insert").filter(has_text="evil").get_by_role("button").click()
            page.locator("article[aria-current=true]").get_by_role("button", name="Restore to here").click()
            found[AWKWARD] = printed(page)
        program = served.folder / "archiver"
        program.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n")
        program.chmod(0o755)
        environment = {**os.environ, "PATH": f"{served.folder}:{os.environ['PATH']}", "LIVE": database}
        with WarmCommands(served.folder / "archiver.yaml") as warm:
            for number, commands in enumerate(found.values()):
                dry, words = [
                    subprocess.run(["bash", "-ec", command], env=environment, capture_output=True, text=True, check=True).stdout.split(
                        "\0"
                    )[:-1]
                    for command in commands[:2]
                ]
                assert dry == [*words, "--dry-run"]
                assert commands[2] == 'psql -X -v ON_ERROR_STOP=1 -f merge.sql "$LIVE"'
                script = served.folder / f"merge-{number}.sql"
                done = warm.call(*(str(script) if word == "merge.sql" else word for word in words))
                assert done.returncode == 0, done.stderr
                session.execute(script.read_bytes())
        rows = session.execute("SELECT id, name, state FROM runs ORDER BY id").fetchall()
    assert ("6", "kept", "kept") in rows
    assert ("5", "run-5", "cancelled") not in rows
    assert (AWKWARD, SCRIPT, "new") in rows


def test_by_the_keyboard_alone(served: Served) -> None:
    """Bars are walked through, Enter goes in and Escape out, the list and the dialog are walked through, and focus comes back."""
    with looking(served.browser, served.address) as page:
        drawn(page, "2 minutes")
        field = page.get_by_role("slider", name="Time")
        field.focus()
        for key in ("Home", *["PageUp"] * 12, *["ArrowRight"] * 2):
            page.keyboard.press(key)
        expect(field).to_have_attribute("aria-valuetext", re.compile(r"10:04:00 to 10:06:00 UTC: \d+ changes, 10 deletions"))
        page.keyboard.press("Shift+ArrowRight")
        expect(field).to_have_attribute("aria-valuetext", re.compile("10:04:00 to 10:08:00"))
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Enter")
        drawn(page, "1 second")
        expect(page.locator("#span")).to_contain_text("10:04:00 – 10:06:00")
        page.keyboard.press("Escape")
        expect(page.locator("#span")).to_contain_text("10:01:00 – 10:09:00")
        for _ in range(3):
            page.keyboard.press("Escape")
        drawn(page, "2 minutes")
        page.get_by_label("Find").focus()
        page.keyboard.type("agents/run-9")
        page.keyboard.press("Enter")
        deleted = page.locator("#list li").filter(has_text="deleted").get_by_role("button")
        expect(deleted).to_have_count(1)
        page.locator("#list button").first.focus()
        for _ in range(page.locator("#list button").count() - 1):
            page.keyboard.press("ArrowDown")
        expect(deleted).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible()
        expect(page.locator("article[aria-current=true]")).to_contain_text("deleted")
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
        expect(deleted).to_be_focused()
        page.get_by_text("The drawing as tables").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("table")).to_have_count(2)
        expect(page.get_by_role("cell", name="gap: all, slot_lost")).to_be_visible()


def test_what_is_not_known_is_said(served: Served) -> None:
    """A span that a gap reaches into says so above the list, as the command does, and in its place."""
    since, until = BAD - 46 * MINUTE, BAD - 20 * MINUTE
    with looking(served.browser, f"{served.address}&since={since}&until={until}") as page:
        drawn(page, "10 seconds")
        expect(page.locator("#doubts")).to_contain_text("Not known: db: all: slot_lost the slot was dropped")
        expect(page.locator("#list li.doubt")).to_contain_text("gap")


def test_a_gap_of_one_table_and_what_is_not_counted(served: Served) -> None:
    """A gap of one table leaves the other half of the strip as it was; what was not counted is grey in each lane of its source, and said.

    So is what is not drawn, and no title hides anything.
    """

    def more(route: Route) -> None:
        answer = route.fetch()
        found = answer.json()
        gap = {
            "entry": 1,
            "what": "table public.t\u202e",
            "reason": "table_added",
            "from_time": 0,
            "to_time": BAD,
            "from_position": "",
            "to_position": "",
        }
        found["windows"]["sources"][0]["gaps"].append(gap)
        found["windows"]["problem"] = "drills/1.json\u202e is not a report"
        found["gaps_left_out"] = {"db": 7}
        found["lanes"][0]["name"] += "\u202e"
        found["uncounted"].append({"source": "db", "since": BAD, "until": BAD + 30 * MINUTE})
        route.fulfill(response=answer, json=found)

    with looking(served.browser, "about:blank") as page:
        page.route("**/api/timeline*", more)
        page.goto(served.address)
        drawn(page, "2 minutes")
        expect(page.locator("#field rect.gap")).to_have_count(2)
        (whole, part) = page.locator("#field rect.gap").all()
        assert [float(each.get_attribute("height") or 0) for each in (whole, part)] == [34, 17]
        assert part.get_attribute("class") == "gap part"
        assert part.locator("title").text_content() == r"gap: table public.t\u202e, table_added"
        expect(page.locator(".label button").first).to_have_attribute("title", re.compile(r"^List the changes of [\w.]+\\u202e$"))
        expect(page.locator("#state")).to_contain_text(r"Gaps and drills are not all known: drills/1.json\u202e is not a report.")
        expect(page.locator("#state")).to_contain_text("7 older gaps of db are not drawn")
        page.get_by_text("The drawing as tables").click()
        expect(page.get_by_role("cell", name="7 older gaps left out")).to_be_visible()
        expect(page.locator("#field rect.uncounted")).to_have_count(2)
        expect(page.locator("#state")).to_contain_text("Not everything is counted")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_narrow_screen_and_in_the_dark(served: Served, scheme: str) -> None:
    """At 400 pixels nothing is cut off or needs scrolling sideways; in the dark the ground is dark and the ink light."""
    with at_the_minute(served, width=400, height=850, color_scheme=scheme) as page:
        drawn(page, "1 second")
        expect(page.locator("#list li").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 400
        cut = "[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > 400.5).map(e => e.outerHTML.slice(0, 80))"
        assert page.evaluate(cut) == []
        colours = page.evaluate("[getComputedStyle(document.documentElement).backgroundColor, getComputedStyle(document.body).color]")
        ground, ink = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours)
        assert (ground < 150 and ink > 550) if scheme == "dark" else (ground > 650 and ink < 200)
        page.locator("#list li").filter(has_text="mallory-cli").get_by_role("button").click()
        page.locator("article[aria-current=true]").get_by_role("button", name="Restore to here").click()
        expect(page.locator("article[aria-current=true] code").first).to_be_visible()
        box = page.get_by_role("dialog").bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 400
        assert page.evaluate("document.querySelector('.states').scrollWidth <= document.querySelector('.states').clientWidth")


def test_texts_of_a_source_do_nothing(served: Served) -> None:
    """Markup stays text, hidden characters are seen, in the list, in the dialog and in commands; the policy would stop a script of the page."""
    with at_the_minute(served, says="TrustedHTML") as page:
        drawn(page, "1 second")
        shown = page.locator("#list li").filter(has_text="insert").filter(has_text="evil")
        expect(shown).to_contain_text(SCRIPT)
        expect(shown.get_by_role("button")).to_contain_text(r"""id=evil\u202etxt.exe\x1b[2J'"; rm -rf $HOME""")
        shown.get_by_role("button").click()
        expect(page.locator("article").first).to_contain_text(SCRIPT)
        page.locator("article").first.get_by_text("The whole state here").click()
        page.locator("article").first.get_by_role("button", name="Restore to here").click()
        expect(page.locator("article code").first).to_contain_text(r"""--rows $'id=evil\342\200\256txt.exe\033[2J\047"; rm -rf $HOME'""")
        assert page.title() == "Timeline · archiver"
        assert page.locator("main img, dialog img, main script, dialog script").count() == 0
        assert not re.search("[\u202e\x1b]", page.locator("body").inner_text())
        refused = (
            "(() => { try { document.createElement('p').innerHTML = '<b>x</b>'; return 'made'; } catch (error) { return error.name; } })()"
        )
        assert page.evaluate(refused) == "TypeError"


def test_who_is_answered(served: Served) -> None:
    """The token, under a name of this server, by GET: everything else is refused before anything is read, and each answer has the policy."""
    token = {"Authorization": f"Bearer {served.address.partition('=')[2]}"}
    asked = "/api/timeline"
    assert served.get(asked, **token)[0] == 200
    assert served.get(asked)[0] == 401
    assert served.get(asked, Authorization="Bearer wrong")[0] == 401
    assert served.get(asked, Authorization=token["Authorization"].replace("Bearer", "Basic"))[0] == 401
    assert served.get(asked, Host="evil.example", **token)[0] == 403
    assert served.get("/", Host="evil.example")[0] == 403
    assert served.get("/", Host=f"localhost:{served.place[1]}")[0] == 200
    assert served.get(asked, Sec_Fetch_Site="cross-site", **token)[0] == 403
    assert [served.get(asked, method, **token)[0] for method in ("POST", "HEAD", "OPTIONS", "DELETE")] == [405] * 4
    assert served.get("/api/none", **token)[0] == 404
    assert served.get("/../archiver.yaml", **token)[0] == 404
    for path in ("/", "/page.js", asked, "/none"):
        headers = served.get(path, **token)[1]
        assert headers["content-security-policy"].startswith("default-src 'self'; ")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
    wrong = ["since=5&until=4", "since=x", "until=99999999999999999", "bars=0", "bars=501"]
    assert [served.get(f"{asked}?{each}", **token)[0] for each in wrong] == [400] * len(wrong)
    wrong = [
        "",
        "source=db",
        "source=db&table=t&kind=k",
        "source=db&table=public.runs&key=[]",
        "source=none&table=public.runs&key={%22id%22:%221%22}",
    ]
    assert [served.get(f"/api/life?{each}", **token)[0] for each in wrong] == [400] * len(wrong)
    with looking(served.browser, served.address.partition("#")[0], says="401 (Unauthorized)") as page:
        expect(page.get_by_role("alert")).to_contain_text("needs the address that `archiver web` printed")
