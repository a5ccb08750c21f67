"""A drafted settings file is read back as it was meant, whatever the sources say of themselves."""

from __future__ import annotations

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from archiver.settings import parse
from archiver.settings.draft import SourceDraft, draft, names

TEXTS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=40)


def test_names_are_allowed_and_differ() -> None:
    """Whatever databases and contexts are called."""
    assert names(["Shop_DB", "shop-db", "ärger", "--", "x" * 80, "1"]) == ["shop-db", "shop-db-2", "rger", "source", "x" * 50, "1"]


@example([("true", "", "", ""), ("1e3", "", "", "")])
@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS, TEXTS), max_size=3))
def test_nothing_that_a_source_says_becomes_a_setting(said: list[tuple[str, str, str, str]]) -> None:
    """Line feeds, quotes, `#` and hidden characters in names, tables and errors."""
    sources = [
        SourceDraft(wish=wish, kind="postgres", about=about, values={"dsn": dsn}, notes={"dsn": [note], "": [note, about]})
        for wish, about, dsn, note in said
    ]
    sources.append(SourceDraft(wish="c", kind="kubernetes", about="", values={"resources": ["*.example.com"]}, notes={}))
    settings = parse(yaml.safe_load(draft("file:///a", sources)), "draft")
    assert list(settings.sources) == names([each.wish for each in sources])
    assert [each.postgres.dsn for each in settings.sources.values() if each.postgres] == [dsn for _, _, dsn, _ in said]
    assert (settings.archive.url, settings.web.listen) == ("file:///a", "127.0.0.1:8080")
