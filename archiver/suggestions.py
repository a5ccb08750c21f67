"""What a misspelt name was meant to be. Names are a handful; nothing is loaded until one is wrong."""

from __future__ import annotations

from collections.abc import Iterable


def meant(wrong: str, names: Iterable[str]) -> str:
    """``did you mean NAME? `` with the nearest of ``names``, for the beginning of a hint; empty where none is near."""
    near = nearest(wrong, names)
    return f"did you mean {near}? " if near else ""


def nearest(wrong: str, names: Iterable[str]) -> str:
    """The one of ``names`` that is near; empty where none is."""
    import difflib

    return next(iter(difflib.get_close_matches(wrong, sorted(names), n=1)), "")


def table_hint(wrong: str, names: Iterable[str]) -> str:
    """A hint for a table ``schema.table`` that there is not: up to three of ``names`` that are near it, whatever their schema."""
    import difflib

    known = sorted(names)
    # Without the schema first: all of one schema are near each other.
    bare = difflib.get_close_matches(wrong.rpartition(".")[2], sorted({each.rpartition(".")[2] for each in known}), n=3, cutoff=0.6)
    near = [each for name in bare for each in known if each.rpartition(".")[2] == name][:3]
    return f"did you mean {' or '.join(near)}?" if near else TABLES_LISTED


TABLES_LISTED = "`archiver restore --at … --dry-run` lists the tables"
"""A hint."""
