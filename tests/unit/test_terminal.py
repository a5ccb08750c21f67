"""What others wrote reaches a terminal only with its control characters shown."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import unicodedata

import msgspec
import pytest
import structlog
import yaml
from hypothesis import given
from hypothesis import strategies as st

from archiver import logs
from archiver.cli import output
from archiver.errors import Refused
from archiver.replay.kubernetes.yaml_text import to_yaml
from archiver.terminal import HIDDEN, visible, visible_json, visible_lines

ATTACKS = [
    "\x1b]0;owned\x07",
    "\x1b[2J",
    "\x9b31m",
    "\x7f\b\b",
    "a\nok  forged",
    "a\r\nb",
    "\u202egnp.exe",
    "\u2066x\u2069",
    "\u2028",
    "\u200bzero",
    "\ufeff",
    "\U000e0041tag",
    "\u00ad",
    "\udcff",
    "\x00",
]


def test_every_control_and_format_character_is_hidden() -> None:
    """The ranges written down cover what Unicode says of each character."""
    missed = [
        f"{number:x}"
        for number in range(0x110000)
        if unicodedata.category(chr(number)) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        # Marks that are drawn, before the digits of other scripts.
        and not (
            0x600 <= number <= 0x605 or number in (0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD) or 0x13430 <= number <= 0x1345F
        )
        and not HIDDEN.match(chr(number))
    ]
    assert missed == []


@pytest.mark.parametrize("text", ATTACKS)
def test_nothing_hidden_is_left(text: str) -> None:
    """Not on one line, not on several; and what is shown can be encoded."""
    assert not HIDDEN.search(visible(text))
    assert not HIDDEN.search(visible_lines(text).replace("\n", ""))
    assert visible(text).encode()


def test_plain_text_stays() -> None:
    """Other scripts are text like any other."""
    for text in ("plain", "Zoë", "日本語", "русский", "naïve €", "C:\\path", "😀"):
        assert visible(text) == visible_lines(text) == visible_json(text) == text


@given(st.text())
def test_json_and_yaml_mean_the_same(text: str) -> None:
    """Escapes of their own, and nothing hidden in the document."""
    document = {"name": text, text: [text, {"nested": f"{text}\n  {text}"}]}
    shown = visible_json(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
    assert json.loads(shown) == document
    assert not HIDDEN.search(shown.replace("\n", ""))
    written = to_yaml(document)
    assert yaml.safe_load(written) == document
    assert not HIDDEN.search(written.replace("\n", ""))


@pytest.mark.parametrize("text", ATTACKS[:-2])
def test_every_way_of_printing_shows_them(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Tables, facts, headings, messages and documents: no hidden character, and no line that the text made."""
    output.table(f"t{text}", ["a", f"b{text}"], [(text, "[bold]x[/]")])
    output.facts([(text, text)])
    output.heading(text, text)
    output.say(text)
    output.answer(text)
    output.document(f"{text.replace(chr(10), ' ')}\n")
    written = "".join(capsys.readouterr())
    assert not HIDDEN.search(written.replace("\n", ""))
    assert len(written.splitlines()) == len(written.split("\n")) - 1 == 9
    assert "[bold]x[/]" in written


PROGRAM = """
import asyncio, logging, structlog, sys
from archiver import logs
from archiver.errors import Refused
logs.configure("info", sys.argv[1])
log = structlog.get_logger()
bad = "\\x1b[2J\\u202e\\x9b\\x7f\\nforged"
log.info("event", source=bad, many=[bad, {bad: bad}])
logging.getLogger("driver").warning("%s", bad)
try:
    secret = "S3CR3T"
    raise ValueError(f"a row with {secret}" + bad)
except ValueError as error:
    log.error("bug", exc_info=error)
    log.exception("bug_here")
    logging.getLogger("driver").exception("failed")
    try:
        raise Refused("named " + bad) from error
    except Refused:
        log.exception("known")
async def main():
    async def fails():
        raise ValueError("S3CR3T")
    task = asyncio.create_task(fails())
    await asyncio.sleep(0.01)
asyncio.run(main())
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_logs_show_them_and_quote_no_error(form: str) -> None:
    """Of an error that nobody foresaw: where and what type. No local variable, no value that its message quotes, in neither form."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, form], capture_output=True, text=True, check=True)
    assert "S3CR3T" not in done.stdout + done.stderr.replace('raise ValueError("S3CR3T")', "").replace('secret = "S3CR3T"', "")
    assert "ValueError" in done.stderr
    assert "Task exception was never retrieved" in done.stderr
    assert not HIDDEN.search(re.sub(r"\x1b\[\d*m", "", done.stderr).replace("\n", ""))  # but for the renderer's colours
    assert not any(line.startswith("forged") for line in done.stderr.splitlines())
    if form == "json":
        lines = [json.loads(line) for line in done.stderr.splitlines()]
        assert lines[0]["source"] == "\x1b[2J\u202e\x9b\x7f\nforged"
        assert "Refused: named" in lines[-2]["exception"]


def test_a_cause_is_told_before_its_effect() -> None:
    """Groups too."""
    try:
        try:
            raise ExceptionGroup("row", [ValueError("row"), Refused("known", hint="do")])
        except ExceptionGroup as group:
            raise KeyError("row") from group
    except KeyError as error:
        text = logs.traced(error)
    assert text.index("ValueError") < text.index("KeyError")
    assert "known" in text
    assert text.count("row") == text.count('raise KeyError("row")') + text.count('"row"') - text.count('raise KeyError("row")')
    logging.getLogger().handlers.clear()
    structlog.reset_defaults()
