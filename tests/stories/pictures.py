"""Pictures of the timeline page for the docs."""

from __future__ import annotations

import os
import re
from pathlib import Path

from playwright.sync_api import Page, expect

DOCS = Path(__file__).parents[2] / "docs/images"
_RENAME = """([from, to]) => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(from, to);
}"""


def picture(page: Page, folder: Path, name: str) -> None:
    """``TIMELINE_PICTURES=1`` writes those of the docs, in which the archive of ``folder`` has the place that the docs give it."""
    if os.environ.get("TIMELINE_PICTURES"):
        page.evaluate(_RENAME, [f"{folder}/archiver.yaml", "/etc/archiver/archiver.yaml"])
        page.evaluate(_RENAME, [str(folder), "/var/lib/archiver"])
        page.mouse.move(0, 0)
        # The list comes later than the drawing.
        expect(page.locator("#told")).not_to_have_text(re.compile("^$|Reading"))
        expect(page.locator("#list")).not_to_have_attribute("aria-busy", "true")
        page.screenshot(path=DOCS / f"{name}.png", scale="css")
