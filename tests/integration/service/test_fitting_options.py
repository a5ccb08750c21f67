"""An option that has no use for what it is given with is refused: whoever wrote it down would believe that it was obeyed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.service.rig import record_both
from tests.servers.controlplane import ControlPlane
from tests.servers.warm_commands import WarmCommands

pytestmark = pytest.mark.postgres(18)


def test_options_without_a_use_are_refused(
    database: str, cluster: ControlPlane, namespace: str, tmp_path: Path, target_database: str
) -> None:
    """What is for one kind of source or target, where the archive has both and only the other is asked for. Nothing is written."""
    recorded = record_both(database, cluster, namespace, tmp_path)
    restore, folder = ("restore", "--at", "latest"), ("--to", str(tmp_path / "out"))
    with WarmCommands(recorded.config) as commands:
        for words, option in (
            ((*restore, "--source", "db", "--kind", "agents"), "--kind"),
            ((*restore, "--to", f"db={target_database}", "--namespace", namespace), "--namespace"),
            ((*restore, *folder, "--mode", "merge"), "--mode"),
            ((*restore, *folder, "--hold-lease", "a/b", "--dry-run"), "--hold-lease"),
            (("drill", "--source", "agents", "--scratch-dsn", target_database), "--scratch-dsn"),
            (("log", "--source", "db", "--namespace", namespace), "--namespace"),
            (("log", "--source", "agents", "--operation", "truncate"), "--operation truncate"),
        ):
            done = commands.call(*words)
            assert (done.returncode, option in done.stderr) == (2, True), (words, done.returncode, done.stdout, done.stderr)
        # What has a use for one of several sources is no fault.
        done = commands.call(*restore, "--kind", "agents", "--no-owner", "--strict")
        assert done.returncode == 0, done.stderr
    assert not (tmp_path / "out").exists()
    assert not (recorded.folder / "journal/drills").exists()
