"""A local disk that swallows calls: the kernel never ends them, and the process must end all the same."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.integration.service.rig import captured, create_table, database_source, segment_file, write
from tests.servers.archiver import Archiver

pytestmark = pytest.mark.postgres(18)


def test_calls_that_never_return_hold_nobody_up(database: str, tmp_path: Path) -> None:
    """While a read of the journal hangs, a stop ends at the grace period with exit code 4 and a second signal at once; nothing is lost."""
    create_table(database)
    with Archiver(tmp_path, {"db": database_source(database)}, serve=True, grace_seconds=3) as archiver:
        for signals, code, seconds in ((1, 4, 9.0), (2, 130, 6.0)):
            archiver.start()
            captured(archiver, "db", database)
            # A pipe that nobody writes: opening it to read never returns. The next few slots, whichever is next.
            following = [segment_file(archiver, archiver.live()["slot"] + ahead) for ahead in (1, 2, 3, 4)]
            for path in following:
                if not path.exists():
                    os.mkfifo(path)
            write(database)
            archiver.wait(lambda: archiver.live()["buffered_bytes"] > 0, "nothing waits for the disk")
            time.sleep(1)
            began = time.monotonic()
            for _ in range(signals):
                archiver.process.send_signal(signal.SIGTERM)
                time.sleep(0.5)
            assert archiver.process.wait(30) == code
            assert time.monotonic() - began < seconds
            for path in following:
                if path.is_fifo():
                    path.unlink()
        archiver.start()
        captured(archiver, "db", database)
        assert archiver.stop() == 0
        assert archiver.call("verify").returncode == 0
