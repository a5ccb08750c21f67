"""What a misspelt name was meant to be. Names are a handful; nothing is loaded until one is wrong."""

from __future__ import annotations

from collections.abc import Iterable


def meant(wrong: str, names: Iterable[str]) -> str:
    """``did you mean NAME? `` with the nearest of ``names``, for the beginning of a hint; empty where none is near."""
    import difflib

    near = difflib.get_close_matches(wrong, sorted(names), n=1)
    return f"did you mean {near[0]}? " if near else ""
