"""The site has every page, and its links lead to where they lead in the repository."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from docs import site

PAGES = {str(page.relative_to(site.DOCS)) for page in site.DOCS.rglob("*.md")}


def test_every_page_is_in_the_navigation_once() -> None:
    """Pages of a folder stand in that folder's section, its index first."""
    top = [each for each in site.navigation() if isinstance(each, str)]
    sections = [names for each in site.navigation() if isinstance(each, dict) for names in each.values()]
    listed = [*top, *(name for names in sections for name in names)]
    assert top[0] == "README.md"
    assert len(listed) == len(set(listed))
    assert set(listed) == PAGES
    assert [names for names in sections if len({name.partition("/")[0] for name in names}) != 1] == []
    assert [names for names in sections for name in names[1:] if name.endswith("/README.md")] == []


def test_every_page_can_be_reached() -> None:
    """Whoever begins at the index of the documentation and follows links finds every page."""
    seen: set[Path] = set()
    ahead = [site.DOCS / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in seen:
            continue
        seen.add(page)
        targets = re.findall(r"\]\(([^)#:]+)", page.read_text(encoding="utf-8"))
        ahead += [
            path for target in targets if (path := (page.parent / target).resolve()).suffix == ".md" and path.is_relative_to(site.DOCS)
        ]
    assert PAGES - {str(page.relative_to(site.DOCS)) for page in seen if page.is_relative_to(site.DOCS)} == set()


def test_a_link_out_of_the_docs_leads_to_the_repository() -> None:
    """Links between pages stay as they are."""
    text = site.for_site(site.DOCS / "README.md")
    assert "](https://github.com/proompteng/archiver/blob/main/deploy/charts/archiver/README.md)" in text
    assert "](tutorial.md)" in text
    assert [name for name in PAGES if "](../../" in site.for_site(site.DOCS / name)] == []


def test_code_stays_as_it_is_and_steps_keep_what_belongs_to_them() -> None:
    """Python-Markdown wants four spaces below a numbered item; what stands in a fenced block is not touched."""
    for name in PAGES:
        before = (site.DOCS / name).read_text(encoding="utf-8")
        after = site.for_site(site.DOCS / name)
        fenced = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
        assert fenced.findall(after) == fenced.findall(before), name
        assert not re.search(r"^ {3}\S", fenced.sub("", after), re.MULTILINE), name


def test_what_is_laid_out_is_whole(tmp_path: Path) -> None:
    """Pages, pictures and settings; what an earlier run left is gone."""
    stale = tmp_path / "site/pages/stale.md"
    stale.parent.mkdir(parents=True)
    stale.touch()
    site.lay_out(tmp_path / "site")
    assert {str(page.relative_to(tmp_path / "site/pages")) for page in tmp_path.rglob("*.md")} == PAGES
    assert (tmp_path / "site/pages/explanation/architecture.svg").read_bytes() == (site.DOCS / "explanation/architecture.svg").read_bytes()
    assert yaml.safe_load((tmp_path / "site/mkdocs.yml").read_text(encoding="utf-8"))["nav"] == site.navigation()
