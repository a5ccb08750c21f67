"""Help, completion and what is misspelt: quick, and without any driver."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import click
import pytest

from archiver.cli.main import COMMANDS, cli
from archiver.maintenance.folding import BEHIND_SECONDS
from archiver.maintenance.limits import MaintenanceLimits

HEAVY = {
    "aiobotocore",
    "aiohttp",
    "asyncio",
    "backports",
    "botocore",
    "kubernetes_asyncio",
    "numpy",
    "prometheus_client",
    "psycopg",
    "pyarrow",
    "rich",
    "structlog",
    "yaml",
}
"""What takes long to load, or is made of many modules."""

PROGRAM = f"""
import json, os, sys
from archiver.cli import main
found = {{}}
for words in json.load(sys.stdin):
    out, into = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.argv = ["archiver", *words]
        main.run()
        os.write(into, json.dumps(sorted({HEAVY!r} & {{name.partition(".")[0] for name in sys.modules}})).encode())
        os._exit(0)
    os.close(into)
    found[" ".join(words)] = json.loads(os.read(out, 4096))
    os.waitpid(child, 0)
print(json.dumps(found))
"""


def archiver(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command, as from a shell."""
    return subprocess.run(
        [sys.executable, "-m", "archiver", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_help_loads_nothing_heavy() -> None:
    """Neither help nor the version needs a driver, a table's printer or a reader of YAML: that is what keeps them below 0.3 s."""
    asked = [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS), ["config", "show", "--help"]]
    done = subprocess.run([sys.executable, "-c", PROGRAM], input=json.dumps(asked), capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    assert len(loaded) == len(asked)
    assert {words: names for words, names in loaded.items() if names} == {}


def test_a_summary_fits_its_line() -> None:
    """At 80 columns, one sentence."""
    for name, command in COMMANDS.items():
        assert len(command.summary) <= 66, name
        assert command.summary.endswith(".")


def test_help_fits_80_columns() -> None:
    """Also the lines that are not wrapped: examples and tables."""
    pending: list[tuple[str, click.Command]] = [("archiver", cli)]
    while pending:
        name, command = pending.pop()
        context = click.Context(command, info_name=name, **{**cli.context_settings, "terminal_width": 80})
        if isinstance(command, click.Group):
            inner = {each: command.get_command(context, each) for each in command.list_commands(context)}
            pending += [(f"{name} {each}", found) for each, found in inner.items() if found is not None]
        assert [line for line in command.get_help(context).splitlines() if len(line) > 80] == [], name


def test_the_help_says_what_the_commands_take() -> None:
    """A default that stands in the help of a command is that of the work behind it."""
    assert MaintenanceLimits().behind_seconds == BEHIND_SECONDS


@pytest.mark.parametrize("name", COMMANDS)
def test_shared_options_stand_behind_each_command_too(name: str) -> None:
    """`-c`, `--archive` and `--log-level` are options of every command, and of those below it."""
    context = click.Context(cli)
    command = cli.get_command(context, name)
    assert command is not None
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    for each in (command, *inner):
        assert {"-c", "--config", "--archive", "--log-level"} <= {text for option in each.params for text in option.opts}
        # Loaded twice it has them once.
        assert sum("--archive" in option.opts for option in each.params) == 1


def test_a_misspelt_name_is_named_with_its_neighbour() -> None:
    """Commands and options; usage errors end with exit code 2."""
    command, option = archiver("stauts"), archiver("restore", "--soruce", "a")
    assert command.returncode == option.returncode == 2
    assert "did you mean status?" in command.stderr
    assert "--source" in option.stderr


def test_the_shell_completes_commands_and_options() -> None:
    """As `eval "$(_ARCHIVER_COMPLETE=bash_source archiver)"` asks for it; one command that is asked about loads itself alone."""
    names = archiver(_ARCHIVER_COMPLETE="bash_complete", COMP_WORDS="archiver ", COMP_CWORD="1").stdout
    assert {line.partition(",")[2] for line in names.splitlines()} >= set(COMMANDS)
    options = archiver(_ARCHIVER_COMPLETE="bash_complete", COMP_WORDS="archiver restore --al", COMP_CWORD="2").stdout
    assert set(options.split()) == {"plain,--allow-gaps", "plain,--allow-controllers"}
    for shell in ("bash", "zsh", "fish"):
        assert "_ARCHIVER_COMPLETE" in archiver(_ARCHIVER_COMPLETE=f"{shell}_source").stdout
