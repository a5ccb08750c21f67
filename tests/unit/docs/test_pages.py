"""Messages lead to pages that whoever reads them can open."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from archiver.pages import BASE, page

ROOT = Path(__file__).parents[3]


def texts(path: Path) -> Iterator[str]:
    """String literals of a file that are no docstrings."""
    tree = ast.parse(path.read_text())
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.value


def named() -> Iterator[str]:
    """Every page that the product names, by its path below ``docs``."""
    for path in (ROOT / "archiver").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "page":
                assert isinstance(node.args[0], ast.Constant), path
                yield str(node.args[0].value)


def test_every_page_that_is_named_is_there() -> None:
    """The file exists, and the section if one is meant."""
    pages = list(named())
    assert len(pages) > 5
    for each in pages:
        path, _, section = each.partition("#")
        text = (ROOT / "docs" / path).read_text()
        headings = [
            re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in text.splitlines() if line[:1] == "#"
        ]
        assert not section or section in headings, each


def test_no_message_names_a_folder_that_a_pod_has_not() -> None:
    """Pages are named by their address, which stands in one place."""
    wrong = [
        f"{path.relative_to(ROOT)}: {text}"
        for path in (ROOT / "archiver").rglob("*.py")
        for text in texts(path)
        if re.search(r"(?<![\w/])docs/\w+", text) or ("github.com" in text and text != BASE)
    ]
    assert wrong == []


def test_alerts_lead_to_the_same_place() -> None:
    """The chart's default address of the runbooks is below that of the pages."""
    values = yaml.safe_load((ROOT / "deploy/charts/archiver/values.yaml").read_text())
    assert values["prometheusRule"]["runbookBaseUrl"] == page("runbooks")
