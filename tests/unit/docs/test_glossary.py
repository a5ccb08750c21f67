"""The glossary holds words in use, one sentence each, and can be found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GLOSSARY = ROOT / "docs/reference/glossary.md"
ENTRIES = dict(re.findall(r"^\| \*\*(.+?)\*\* \| (.+) \|$", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE))
OWN = {
    "archive",
    "segment",
    "number",
    "run",
    "entry",
    "epoch",
    "mark",
    "part",
    "gap",
    "point",
    "stretch",
    "stage",
    "baseline",
    "checkpoint",
}
"""Words that are ours and must be explained as long as the product has them."""


def test_our_words_are_there_in_order() -> None:
    """No word of ours is missing; the words stand in the order of the alphabet."""
    assert set(ENTRIES) >= OWN
    assert list(ENTRIES) == sorted(ENTRIES)


@pytest.mark.parametrize("word", ENTRIES)
def test_each_entry_is_one_sentence(word: str) -> None:
    """One capital at its beginning, one full stop, at its end."""
    text = ENTRIES[word]
    without_code = re.sub(r"`[^`]*`", "", text)
    assert text[0].isupper()
    assert text.endswith(".")
    assert not re.search(r"[.!?]\s", without_code)


@pytest.mark.parametrize("word", ENTRIES)
def test_each_word_is_used(word: str) -> None:
    """In the code and on another page."""
    forms = re.compile(rf"(?:\b|_){word[:-1]}(?:{word[-1]}|ies|{word[-1]}\w{{1,3}})(?:\b|_)", re.IGNORECASE)
    code = (file.read_text(encoding="utf-8") for file in (ROOT / "archiver").rglob("*.py"))
    pages = (file.read_text(encoding="utf-8") for file in (ROOT / "docs").rglob("*.md") if file != GLOSSARY)
    assert any(map(forms.search, code))
    assert any(map(forms.search, pages))


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "CONTRIBUTING.md",
        "docs/README.md",
        "docs/tutorial.md",
        "docs/explanation/architecture.md",
        "docs/explanation/guarantees.md",
        "docs/reference/format.md",
        "docs/howto/restore-postgres.md",
        "docs/howto/restore-kubernetes.md",
        "docs/runbooks/README.md",
        "docs/design/README.md",
    ],
)
def test_main_pages_lead_to_the_glossary(page: str) -> None:
    """A reader who meets the words on a main page finds their meaning from there."""
    targets = re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert GLOSSARY in [((ROOT / page).parent / target).resolve() for target in targets]
