"""What commands load before they do anything: a driver that they do not need takes longer than a small archive to restore."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path

import pytest

from archiver.cli.loading import loading

HEAVY = {"aiobotocore", "aiohttp", "attr", "botocore", "kubernetes_asyncio", "pyarrow.compute", "rich", "urllib3", "yaml"}
"""Drivers of other stores and targets, and what they bring; what structlog wants for traces that are never shown."""

PROGRAM = f"""
import json, sys
from archiver.cli import main
sys.argv = ["archiver", *json.loads(sys.stdin.read())]
code = main.run()
print(json.dumps([code, sorted({HEAVY!r} & set(sys.modules))]))
"""


@pytest.mark.parametrize(
    "words",
    [
        ["restore", "--at", "latest"],
        ["restore", "--at", "latest", "--to", "postgresql:///nowhere", "--jobs", "2"],
        ["log", "--source", "db", "--table", "t", "--key", "id=5"],
        ["show", "--source", "db", "--table", "t", "--key", "id=5"],
        ["undo", "a-mark", "--to", "kubeconfig:nowhere"],
    ],
)
def test_a_command_loads_no_driver_that_it_has_no_use_for(words: list[str], tmp_path: Path) -> None:
    """Up to where it finds that there is no archive, all that it works with is there."""
    asked = ["--archive", tmp_path.as_uri(), *words]
    done = subprocess.run([sys.executable, "-c", PROGRAM], input=json.dumps(asked), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [2, []], done.stderr
    assert "no archive" in done.stderr


def test_garbage_is_looked_for_again_when_the_outermost_is_done() -> None:
    """One may stand within another."""
    assert gc.isenabled()
    try:
        with loading():
            with loading():
                assert not gc.isenabled()
            assert not gc.isenabled()
        assert gc.isenabled()
    finally:
        gc.unfreeze()
