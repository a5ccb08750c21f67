"""Lay out the documentation as the sources of a site: ``python -m docs.site FOLDER``; `make site` then builds it.

The pages are written for whoever reads them in the repository. Three things differ on a site: a link that leaves ``docs`` must lead to the
repository, the navigation must be told, and Python-Markdown wants four spaces before what belongs to a numbered item.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

from archiver.pages import BASE

DOCS = Path(__file__).parent
ROOT = DOCS.parent
REPOSITORY = BASE.removesuffix("/docs")
SECTIONS = {
    "tutorials": "Tutorials",
    "howto": "How to",
    "reference": "Reference",
    "explanation": "Explanation",
    "runbooks": "Operations",
    "design": "Design",
}
"""Folders in the order of the navigation, by the names that readers see."""
KINDS = {".md", ".svg", ".png", ".json"}
_LINK = re.compile(r"(?<=\]\()([^)#:\s]+)(?=(?:#[^)]*)?\))")
_FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """Every page, in the order in which the index and the indexes of the folders lead to it; what none of them names comes last."""
    named = [
        (index.parent / target).resolve()
        for index in (DOCS / "README.md", *sorted(DOCS.glob("*/README.md")))
        for target in _LINK.findall(index.read_text(encoding="utf-8"))
    ]
    place = {path: number for number, path in reversed(list(enumerate(named)))}
    return sorted(DOCS.rglob("*.md"), key=lambda page: (page.name != "README.md", place.get(page.resolve(), len(named)), page))


def navigation() -> list[Any]:
    """Pages of ``docs`` itself first, then a section for each folder. Their titles are their own headings."""
    names = [str(page.relative_to(DOCS)) for page in pages()]
    folders = dict.fromkeys((*SECTIONS, *(name.partition("/")[0] for name in names if "/" in name)))
    top: list[Any] = [name for name in names if "/" not in name]
    return top + [{SECTIONS.get(folder, folder): [name for name in names if name.startswith(f"{folder}/")]} for folder in folders]


def for_site(page: Path) -> str:
    """The text of a page as the site wants it."""

    def address(link: re.Match[str]) -> str:
        target = (page.parent / link[0]).resolve()
        return link[0] if target.is_relative_to(DOCS.resolve()) else f"{REPOSITORY}/{target.relative_to(ROOT.resolve())}"

    def prose(text: str) -> str:
        return re.sub(r"^ {3}(?=\S)", "    ", _LINK.sub(address, text), flags=re.MULTILINE)

    parts = _FENCED.split(page.read_text(encoding="utf-8"))
    return "".join(part if number % 2 else prose(part) for number, part in enumerate(parts))


def lay_out(folder: Path) -> None:
    """Write sources and settings of the site into ``folder``, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    for file in (file for file in DOCS.rglob("*") if file.suffix in KINDS):
        target = folder / "pages" / file.relative_to(DOCS)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(for_site(file).encode() if file.suffix == ".md" else file.read_bytes())
    settings = yaml.safe_load((DOCS / "mkdocs.yml").read_text(encoding="utf-8"))
    settings |= {"docs_dir": "pages", "site_dir": "html", "nav": navigation()}
    (folder / "mkdocs.yml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]))
