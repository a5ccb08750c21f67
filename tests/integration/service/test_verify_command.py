"""``archiver verify`` of a captured database: from a noted head on, at each level, and when something is bad."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.service.rig import captured, create_table, database_source, segment_file
from tests.servers.archiver import Archiver

pytestmark = pytest.mark.postgres(18)


def verified(archiver: Archiver, *arguments: str, code: int = 0) -> dict[str, Any]:
    """The report."""
    done = archiver.call("verify", "--json", *arguments)
    assert done.returncode == code, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_it_goes_on_from_a_noted_head(database: str, tmp_path: Path) -> None:
    """Only what came since is counted, the same points can be restored; damage is told as by a whole verify, and so is another history."""
    create_table(database)
    with Archiver(tmp_path, {"db": database_source(database)}, serve=True) as archiver:
        archiver.start()
        captured(archiver, "db", database)
        assert archiver.stop() == 0
        first = verified(archiver)
        archiver.start()
        captured(archiver, "db", database)
        assert archiver.stop() == 0
        whole = verified(archiver)
        for level in ("hashes", "share"):
            since = verified(archiver, "--level", level, "--since", first["head"])
            assert (since["level"], since["since"], since["slots"]) == (level, first["head"], whole["slots"] - first["slots"])
            assert (since["head"], since["restorable"]) == (whole["head"], whole["restorable"])
        names = verified(archiver, "--level", "names")
        assert (names["slots"], names["head"]) == (whole["slots"], "")
        assert first["head"] in " ".join(archiver.call("verify", "--level", "hashes", "--since", first["head"]).stdout.split())
        wrong = archiver.call("verify", "--since", first["head"])
        assert (wrong.returncode, "--level hashes or share" in wrong.stderr) == (2, True)
        both = archiver.call("verify", "--level", "hashes", "--since", first["head"], "--known-head", first["head"])
        assert (both.returncode, "leave --known-head out" in both.stderr) == (2, True)
        other = verified(archiver, "--level", "hashes", "--since", f"{'ab' * 32}@{first['slots'] - 1}", code=7)
        assert "rewritten" in other["head_fault"]
        bad = whole["slots"] - 2
        segment_file(archiver, bad).write_bytes(b"")
        since, again = verified(archiver, "--level", "hashes", "--since", first["head"], code=7), verified(archiver, code=7)
        assert [each["slot"] for each in since["bad_slots"]] == [bad]
        assert (since["bad_slots"], since["restorable"]) == (again["bad_slots"], again["restorable"])
        segment_file(archiver, bad).unlink()
        assert verified(archiver, "--level", "names", code=7)["bad_slots"] == verified(archiver, code=7)["bad_slots"]
