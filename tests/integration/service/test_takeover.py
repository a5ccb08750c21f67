"""Who writes after a crash: the same instance at once, another one after silence."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.integration.service.rig import captured, create_table, database_source, events, headers
from tests.servers.archiver import Archiver

pytestmark = pytest.mark.postgres(18)


def test_the_same_instance_goes_on_at_once(database: str, tmp_path: Path) -> None:
    """After SIGKILL a restart under the same name does not wait for its own silence."""
    create_table(database)
    archive = {"instance": "one", "takeover_after_seconds": 600}
    with Archiver(tmp_path, {"db": database_source(database)}, archive=archive, serve=True) as archiver:
        archiver.start()
        captured(archiver, "db", database)
        archiver.kill()
        archiver.start()
        archiver.wait(lambda: archiver.live().get("epoch") == 2, "it does not take over")
        captured(archiver, "db", database)
        assert archiver.stop() == 0


def test_another_instance_waits_for_silence(database: str, tmp_path: Path) -> None:
    """Another name takes over only when the journal has been silent as long as the settings say, and misses nothing."""
    create_table(database)
    seconds = 6
    sources = {"db": database_source(database)}
    first = Archiver(tmp_path, sources, archive={"instance": "first", "takeover_after_seconds": seconds}, serve=True)
    second = Archiver(tmp_path, sources, archive={"instance": "second", "takeover_after_seconds": seconds}, name="second", serve=True)
    with first, second:
        first.start()
        captured(first, "db", database)
        second.start()
        second.wait(lambda: events(second, "journal_found"), "the second does not look")
        time.sleep(seconds + 2)
        assert not second.live().get("epoch"), "it took the archive from a living writer"
        first.kill()
        second.wait(lambda: second.live().get("epoch") == 2, "it does not take over")
        captured(second, "db", database)
        assert second.stop() == 0
        found = headers(f"file://{tmp_path}/journal")
        fence = next(header for header in found if header.epoch == 2)
        assert fence.time - found[fence.number - 1].time >= seconds * 1_000_000
        assert second.call("verify").returncode == 0


def test_a_clean_end_hands_over_at_once(database: str, tmp_path: Path) -> None:
    """After an orderly stop another instance need not wait."""
    create_table(database)
    sources = {"db": database_source(database)}
    first = Archiver(tmp_path, sources, archive={"instance": "first", "takeover_after_seconds": 600}, serve=True)
    second = Archiver(tmp_path, sources, archive={"instance": "second", "takeover_after_seconds": 600}, name="second", serve=True)
    with first, second:
        first.start()
        captured(first, "db", database)
        assert first.stop() == 0
        second.start()
        second.wait(lambda: second.live().get("epoch") == 2, "it does not take over")
        captured(second, "db", database)
        assert second.stop() == 0
