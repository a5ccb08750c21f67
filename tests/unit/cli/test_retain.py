"""``retain`` and ``hold`` as they are typed, on an archive in a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from archiver.cli.main import cli
from archiver.journal.entry import Kind
from tests.unit.journal.forge import Forgery, frames


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A baseline, and some segments behind it."""
    forgery = Forgery()
    forgery.open()
    forgery.add(frames("db", b"before"))
    forgery.add(frames("db", b"{}", kind=Kind.CHECKPOINT))
    for number in range(5):
        forgery.add(frames("db", b"x", changed=100 + number))
    for key in forgery.store.names(""):
        file = tmp_path / "archive" / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(forgery.store.peek(key) or b"")
    return tmp_path / "archive"


def call(archive: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["--archive", archive.as_uri(), *words])


def test_nothing_is_deleted_unless_it_was_asked_for(archive: Path) -> None:
    """Without the setting a pass says so; a rehearsal of it needs ``--dry-run``."""
    before = sorted(archive.rglob("*"))
    done = call(archive, "retain")
    assert (done.exit_code, "retention" in done.output) == (0, True), done.output
    assert json.loads(call(archive, "retain", "--json").output)["deleted"] == 0
    assert call(archive, "retain", "--restore-seconds", "3600").exit_code == 2
    assert sorted(archive.rglob("*")) == before


def test_holds_are_put_listed_and_lifted(archive: Path) -> None:
    """While one stands a pass names it."""
    assert "there is no hold" in call(archive, "hold", "list").output
    assert call(archive, "hold", "put", "case-7", "--reason", "a court asks").exit_code == 0
    assert "a court asks" in call(archive, "hold", "list").output
    assert [each["name"] for each in json.loads(call(archive, "hold", "list", "--json").output)] == ["case-7"]
    held = call(archive, "retain", "--dry-run", "--restore-seconds", "3600")
    assert "case-7" in held.output, held.output
    assert "case-7" in call(archive, "hold", "lift", "case-7").output
    assert "there is no hold" in call(archive, "hold", "list").output
