"""What the docs say about the tree is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.picture import FLOWS, STACKS, layers

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
DDL_PREFIX = "archiver/ddl"
"""Looks like a path, and is the prefix of a logical message."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_exist(page: Path) -> None:
    """Every path below `archiver/`, `tests/`, `benchmarks/` or `docs/` that a page names in code is a file or folder."""
    named = re.findall(r"`((?:archiver|tests|benchmarks|docs)/[\w./-]*)", page.read_text(encoding="utf-8"))
    assert [path for path in named if path != DDL_PREFIX and not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_bare_file_names_exist(page: Path) -> None:
    """A Python file that a page names without its folder exists somewhere in the tree."""
    files = {file.name for folder in ("archiver", "docs", "tests", "benchmarks") for file in (ROOT / folder).rglob("*.py")}
    assert set(re.findall(r"(?<![\w/*])(\w+\.py)\b", page.read_text(encoding="utf-8"))) - files == set()


@pytest.mark.parametrize("flow", FLOWS)
def test_the_picture_names_modules_that_exist(flow: str) -> None:
    """Each step of a flow is a module of the product."""
    assert [module for module, _ in FLOWS[flow] if not (ROOT / f"archiver/{module}.py").is_file()] == []


@pytest.mark.parametrize("container", STACKS)
def test_the_picture_has_all_layers(container: str) -> None:
    """The rows that the picture takes from the contracts hold every module of their folder."""
    folder = ROOT / container.replace(".", "/")
    found = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()} - {"__init__"}
    drawn = {module for row in layers(container) for module in row}
    assert found <= drawn
