"""Which client programs are chosen when several are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from archiver.errors import Refused
from archiver.postgres import client_programs
from archiver.postgres.client_programs import find_tools


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The only place that is looked into: a folder for each version, as Debian has them."""
    monkeypatch.setattr(client_programs, "_DEBIAN", tmp_path)
    monkeypatch.setattr(client_programs, "_WHEEL", ())
    monkeypatch.setenv("PATH", "")
    return tmp_path


def _install(folder: Path, *versions: str) -> None:
    for version in versions:
        program = folder / version / "bin" / "pg_dump"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}'\n")
        program.chmod(0o755)


@pytest.mark.parametrize(
    ("server", "programs", "chosen"),
    [
        (150018, ["15.18", "16.14", "18.4"], "18.4"),
        (150020, ["15.20", "16.14", "18.4"], "15.20"),
        (150020, ["15.18", "16.16", "18.4"], "16.16"),
        (150020, ["15.19", "16.14", "18.4"], "18.4"),
        (180004, ["15.20", "18.4"], "18.4"),
        (150099, ["15.18", "19.0"], "19.0"),
        (160014, ["16.13", "17.10"], "17.10"),
    ],
)
def test_as_new_as_the_server_and_then_the_newest(there: Path, server: int, programs: list[str], chosen: str) -> None:
    """Minor releases of all major versions come out together, so an older program of a newer version can be told."""
    _install(there, *programs)
    tools = find_tools(server)
    assert tools.banner.endswith(chosen)
    assert tools.is_older(server) is (server == 150020 and "15.19" in programs)


def test_an_older_major_version_is_refused(there: Path) -> None:
    """It cannot read the server."""
    _install(there, "15.20")
    with pytest.raises(Refused, match="of version 15; version 18 or newer is needed"):
        find_tools(180000)
