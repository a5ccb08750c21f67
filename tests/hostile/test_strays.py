"""Objects that somebody put among the segments: whoever is given a point goes on, and status and verify name them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from archiver.journal.keys import segment_key
from tests.integration.service.rig import captured, record_both, segment_file
from tests.servers.archiver import Archiver
from tests.servers.controlplane import ControlPlane
from tests.servers.warm_commands import WarmCommands

pytestmark = pytest.mark.postgres(18)

Damage = Callable[[Archiver, int], str]
"""Puts something behind the last segment; its key."""


def put(archiver: Archiver, key: str, data: bytes) -> str:
    (archiver.folder / "journal" / key).write_bytes(data)
    return key


def nothing(_archiver: Archiver, _last: int) -> str:
    return ""


STRAYS: dict[str, Damage] = {
    "the last number that there can be": lambda archiver, last: put(archiver, "journal/ffffffffffffffff", b"x"),
    "an empty one a little behind": lambda archiver, last: put(archiver, segment_key(last + 3), b""),
    "no name of a segment": lambda archiver, last: put(archiver, "journal/notes.txt", b"hello"),
    "a name before all segments": lambda archiver, last: put(archiver, "journal/.listing", b""),
}
DAMAGE: dict[str, Damage] = {
    "noise under the next number": lambda archiver, last: put(archiver, segment_key(last + 1), b"x"),
    "a segment behind a hole": lambda archiver, last: put(archiver, segment_key(last + 9), segment_file(archiver, last).read_bytes()),
    "a copy of the last segment": lambda archiver, last: put(archiver, segment_key(last + 1), segment_file(archiver, last).read_bytes()),
}


@pytest.fixture
def recorded(database: str, cluster: ControlPlane, namespace: str, tmp_path: Path) -> Archiver:
    """An archive of a table and one object; its archiver has stopped."""
    return record_both(database, cluster, namespace, tmp_path)


@pytest.fixture
def commands(recorded: Archiver) -> Iterator[WarmCommands]:
    with WarmCommands(recorded.config) as warm:
        yield warm


def test_strays_and_damage_behind_the_end(recorded: Archiver, commands: WarmCommands, namespace: str) -> None:
    """A point before it is restored and asked about. ``latest`` too for strays; behind damage it is refused, and nobody writes."""
    status = recorded.status()
    last, entry = int(status["slot"]), int(status["last_entry"])
    journal, good, out = (recorded.folder / name for name in ("journal", "good", "out"))
    shutil.copytree(journal, good)
    row = ("log", "--source", "db", "--table", "public.note", "--key", "id=1")
    shown = ("show", "--source", "agents", "--object", f"agents.agents.proompteng.ai/{namespace}/a")

    def answer(name: str, *words: str) -> tuple[str, int]:
        shutil.rmtree(out, ignore_errors=True)
        done = commands.call(*words)
        return f"{name}: {' '.join(words)}: {done.stderr[-500:]}", done.returncode

    for name, damage in ({"nothing": nothing} | STRAYS | DAMAGE).items():
        shutil.rmtree(journal)
        shutil.copytree(good, journal)
        key = damage(recorded, last)
        code = 7 if name in DAMAGE else 0
        for point in (str(entry - 1), str(entry)):
            said, found = answer(name, "restore", "--to", str(out), "--at", point)
            assert found == 0, said
            said, found = answer(name, *row, "--until", point)
            assert found == 0, said
            said, found = answer(name, *shown, "--at", point)
            assert found == 0, said
        said, found = answer(name, "restore", "--to", str(out), "--at", "latest")
        assert found == code, said
        said, found = answer(name, *row)
        assert found == code, said
        told, verified = commands.call("status", "--offline"), commands.call("verify")
        assert told.returncode == 0, (name, told.stderr)
        assert verified.returncode == (7 if key else 0), (name, verified.stderr)
        assert ("NOT WHOLE" in verified.stdout) == bool(code), name
        assert ("damage behind it" in told.stdout) == bool(code), name
        if key and not code:
            assert key in verified.stderr, name
            assert key in told.stdout or name == "a name before all segments", name


@pytest.mark.parametrize("name", sorted(STRAYS.keys() - {"an empty one a little behind"}))
def test_an_archiver_goes_on_beside_a_stray(name: str, recorded: Archiver, database: str) -> None:
    """It says so in its log; what it writes then is whole. Only where its own next numbers are taken it ends, and touches nothing."""
    STRAYS[name](recorded, int(recorded.status()["slot"]))
    with recorded:
        recorded.start()
        captured(recorded, "db", database)
        assert recorded.stop() == 0
    assert ("journal_strays" in recorded.log()) == (name != "a name before all segments")
    assert "whole" in recorded.call("verify").stdout
