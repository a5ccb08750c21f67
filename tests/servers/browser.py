"""Chromium for tests of the page: found on this machine, or installed as Debian's package. ``python -m tests.servers.browser`` does that."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_SECONDS = 300
"""For the lists of packages, and for the package."""
_PATIENCE = [f"-o{name}=60" for name in ("Acquire::http::Timeout", "Acquire::https::Timeout", "DPkg::Lock::Timeout")]
MISSING = "tests of the page need Chromium: install Debian's package (apt-get install --no-install-recommends chromium), or Google Chrome"


def found() -> str:
    """The program; empty where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), "")


@contextmanager
def browsing() -> Iterator[Browser]:
    """A browser without a window; nothing of it is left."""
    program = found()
    assert program, MISSING
    expect.set_options(timeout=60_000)
    flags = ["--disable-dev-shm-usage", *(["--no-sandbox"] if not os.geteuid() else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def looking(browser: Browser, address: str, width: int = 1080, height: int = 800, *, says: str = "", **more: Any) -> Iterator[Page]:
    """A page, in a context of its own. All that its console says has ``says`` in it; without that it says nothing."""
    context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce", **more)
    said = list[str]()
    try:
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(address)
        yield page
        assert [text for text in said if not says or says not in text] == []
    finally:
        context.close()


def _refused(command: list[str], environment: dict[str, str]) -> str:
    """Why it failed; empty when it did not."""
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"it took longer than {_SECONDS} s"
    said = done.stderr.strip() or done.stdout.strip() or "no reason was given"
    return f"{said[-2000:]} (exit code {done.returncode})" if done.returncode else ""


def main() -> int:
    """0 when there is one, now."""
    if found():
        return 0
    if os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        sys.stderr.write("installing Debian's chromium\n")
        for words in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "chromium"]):
            if said := _refused(["apt-get", *_PATIENCE, *words], environment):
                sys.stderr.write(f"apt-get {words[0]} failed: {said}\n")
        if found():
            return 0
    sys.stderr.write(f"{MISSING}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
