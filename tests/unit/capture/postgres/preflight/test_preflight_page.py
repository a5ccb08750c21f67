"""The page of findings says what the code says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from archiver.capture.postgres.catalog import capture_mode

ROOT = Path(__file__).parents[5]


def test_every_finding_has_a_line() -> None:
    """Each code that preflight can give stands in the page, and the page names no other."""
    page = (ROOT / "docs/reference/postgres-preflight.md").read_text()
    described = set(re.findall(r"^\| `([a-z_]+)` \| (?:refused|warning|note) ", page, re.MULTILINE))
    given = set(get_args(capture_mode.Cause)) - {"", "partitioned", "out_of_scope"}
    for path in (ROOT / "archiver/capture/postgres/preflight").glob("*.py"):
        source = path.read_text()
        given |= set(re.findall(r'Finding\(\s*"([a-z_]+)"', source))
    assert described == given
