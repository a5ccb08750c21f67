"""Where the documentation can be read by whoever reads a message: in a Pod there is no docs folder."""

from __future__ import annotations

BASE = "https://github.com/proompteng/archiver/blob/main/docs"
"""The one place that names it. A fork or a mirror changes this line, and ``prometheusRule.runbookBaseUrl`` of the chart."""


def page(path: str) -> str:
    """The address of a page, by its path below ``docs``: ``runbooks/fenced.md``, with ``#section`` if one is meant."""
    return f"{BASE}/{path}"
