"""The tutorials, command by command as they are printed, on real servers."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.servers.controlplane import ControlPlane
from tests.servers.controlplane_build import program
from tests.servers.postgres import PostgresServer

ROOT = Path(__file__).parents[2]
SECONDS = 200


class Tutorial(NamedTuple):
    """A page, and what a person would see before going on."""

    page: str
    seen: dict[str, str]
    """A line's beginning -> what must be true before it is typed: people are slower than scripts."""
    told: tuple[str, ...]
    """Of what is printed, in this order."""


LOGGED = "archiver log --json 2>/dev/null | grep -q {}"
TUTORIALS = [
    Tutorial(
        "tutorial.md",
        {"archiver log ": LOGGED.format("'note dropped'")},
        ("from (UTC)", "UPDATE", "before", "shop_back", "1001", "hello"),
    ),
    Tutorial(
        "tutorials/cluster.md",
        {"sleep 2; date": LOGGED.format("cashier"), "archiver log ": LOGGED.format("'\"deleted\"'")},
        ("intern (Update)", "deleted", "amount: 12", "-1", "created      1", "apples   12", "bread    -1"),
    ),
    Tutorial(
        "tutorials/both.md",
        {
            "sleep 2; date": f"{LOGGED.format('insert.*second')} && {LOGGED.format('added.*second')}",
            "archiver log --from $(cat good)\n": f"{LOGGED.format('delete')} && {LOGGED.format('deleted')}",
        },
        ("delete ", "deleted", "factory_back", "first", "second", "first", "second"),
    ),
]


def commands(page: str) -> list[str]:
    """The indented blocks behind the section on how to install, in their order."""
    text = (ROOT / "docs" / page).read_text().split("\n## 2.")[1]
    return [re.sub(r"^ {4}", "", block, flags=re.MULTILINE) for block in re.findall(r"(?:(?:^ {4}.*\n)+\n?)+", text, re.MULTILINE)]


def script(tutorial: Tutorial) -> str:
    """A person's shell: each command that fails is told, but for ``diff``, whose answer that is."""
    lines = ["set -mE", 'trap \'case "$BASH_COMMAND" in "archiver diff"*) ;; *) echo "FAILED: $BASH_COMMAND" ;; esac\' ERR']
    for line in "".join(commands(tutorial.page)).splitlines(keepends=True):
        lines += [f"until {condition}; do sleep 0.2; done" for begin, condition in tutorial.seen.items() if line.startswith(begin)]
        lines.append(line.rstrip("\n"))
    return "\n".join(lines) + "\n"


def put(file: Path, words: list[str]) -> None:
    file.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    file.chmod(0o755)


def end_all(folder: Path) -> None:
    """End what the shell left running: it gave each job a group of its own, and all work in ``folder``."""
    for place in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if place.readlink() == folder:
                os.kill(int(place.parent.name), signal.SIGKILL)


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=[each.page for each in TUTORIALS])
def test_every_command_works_as_it_is_printed(
    tutorial: Tutorial, start_postgres: Callable[..., PostgresServer], start_cluster: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    """From the first to the last, in one shell; they say what the page says, and leave nothing behind."""
    programs, work = tmp_path / "bin", tmp_path / "work"
    programs.mkdir()
    work.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{programs}:{os.environ['PATH']}"}
    put(programs / "archiver", [sys.executable, "-m", "archiver"])
    if "psql" in "".join(commands(tutorial.page)):
        server = start_postgres(18, {"max_slot_wal_keep_size": "4GB"})
        environment |= {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(server.port),
            "PGUSER": "postgres",
            "PATH": f"{programs}:{server.bin}:{os.environ['PATH']}",
        }
    if "kubectl" in "".join(commands(tutorial.page)):
        cluster = start_cluster(controllers=True)
        put(programs / "kubectl", program("kubectl"))
        environment["KUBECONFIG"] = str(cluster.kubeconfig)
    typed = tmp_path / "typed.sh"
    typed.write_text(script(tutorial))
    with (tmp_path / "said").open("w") as said:
        shell = subprocess.Popen(
            ["bash", str(typed)], cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        )
        try:
            assert shell.wait(SECONDS) == 0
        finally:
            if shell.poll() is None:
                end_all(work)
                shell.kill()
                shell.wait()
    answers = (tmp_path / "said").read_text()
    assert "FAILED: " not in answers, answers
    at = 0
    for text in tutorial.told:
        assert text in answers[at:], (text, answers)
        at = answers.index(text, at) + len(text)
    assert list(work.iterdir()) == []
