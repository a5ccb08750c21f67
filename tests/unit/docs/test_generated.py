"""Reference pages say what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from archiver.cli.main import COMMANDS
from docs import generate

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("name", generate.PAGES)
def test_page_is_what_the_code_says(name: str) -> None:
    """A generated page in the tree equals what the code gives now; `make docs` mends it."""
    assert (DOCS / name).read_text(encoding="utf-8") == generate.PAGES[name]()


def test_links_lead_somewhere() -> None:
    """Every relative link of every page leads to a file of the tree."""
    broken = []
    for page in [*DOCS.rglob("*.md"), DOCS.parent / "README.md", DOCS.parent / "deploy/charts/archiver/README.md"]:
        targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        broken += [f"{page.relative_to(DOCS.parent)}: {target}" for target in targets if not (page.parent / target).exists()]
    assert broken == []


def test_every_runbook_is_listed() -> None:
    """The index of runbooks names each of them."""
    index = (DOCS / "runbooks/README.md").read_text(encoding="utf-8")
    assert [page.name for page in (DOCS / "runbooks").glob("*.md") if page.name != "README.md" and page.name not in index] == []


def test_every_command_is_mentioned_in_the_readme() -> None:
    """Somebody who reads only the README meets every command."""
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if not re.search(rf"\b{name}\b", readme)] == []


def test_guarantees_name_code_and_tests_that_exist() -> None:
    """Each promise G1 to G9 names a home in the code and at least one test, and all of them are there."""
    root = DOCS.parent
    rows = [
        line.split(" | ")
        for line in (DOCS / "explanation/guarantees.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| G")
    ]
    assert [row[0].strip("| ") for row in rows] == [f"G{number}" for number in range(1, 10)]
    for number, _, homes, tests in rows:
        assert all((root / home).exists() for home in re.findall(r"`([^`]+)`", homes)), number
        shown = [test.partition("::") for test in re.findall(r"`([^`]+)`", tests)]
        assert shown
        assert [name for file, _, name in shown if f"def {name}(" not in (root / file).read_text(encoding="utf-8")] == [], number
