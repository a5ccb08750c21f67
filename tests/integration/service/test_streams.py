"""Where output and log go may fill up or go away: neither ends a capture, nor changes what a command found."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.service.rig import captured, create_table, database_source, segment_file
from tests.servers.archiver import Archiver

pytestmark = pytest.mark.postgres(18)


def redirected(archiver: Archiver, command: str, to: str) -> int:
    """Exit code of a command whose output goes ``to`` something, as a shell has it."""
    line = f'set -o pipefail; "{sys.executable}" -m archiver -c "{archiver.config}" {command} {to}'
    return subprocess.run(["bash", "-c", line], capture_output=True, timeout=60, check=False).returncode


def test_a_log_that_cannot_be_written_ends_nothing(database: str, tmp_path: Path) -> None:
    """With its log on a full disk, or read by nobody any more, the archiver captures and stops in order."""
    create_table(database)
    with Archiver(tmp_path, {"db": database_source(database)}, serve=True) as archiver:
        command = [sys.executable, "-m", "archiver", "-c", str(archiver.config), "run"]
        archiver.log_file.touch()
        with Path("/dev/full").open("wb") as full:
            archiver.process = subprocess.Popen(command, stderr=full)
        captured(archiver, "db", database)
        assert archiver.stop() == 0

        archiver.process = subprocess.Popen(command, stderr=subprocess.PIPE)
        assert archiver.process.stderr is not None
        archiver.process.stderr.close()
        captured(archiver, "db", database)
        archiver.process.send_signal(signal.SIGTERM)
        assert archiver.process.wait(40) == 0
        assert archiver.call("verify").returncode == 0


def test_an_answer_that_cannot_be_written_is_an_error(database: str, tmp_path: Path) -> None:
    """An answer cut by a full disk ends with exit code 4; a reader that has seen enough leaves the command's own exit code."""
    create_table(database)
    with Archiver(tmp_path, {"db": database_source(database)}, serve=True) as archiver:
        archiver.start()
        captured(archiver, "db", database)
        assert archiver.stop() == 0
        for command in ("verify", "verify --json", "status --offline", "config show"):
            assert redirected(archiver, command, ">/dev/full") == 4
            assert redirected(archiver, command, "| true") == 0
        segment_file(archiver, 1).write_bytes(b"")
        assert redirected(archiver, "verify", "| true") == 7
        assert redirected(archiver, "verify", ">/dev/full") == 7
        assert "NOT WHOLE" in archiver.call("verify").stdout
