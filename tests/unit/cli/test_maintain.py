"""Which steps of maintenance are told."""

from __future__ import annotations

from archiver.cli.maintain import told
from archiver.maintenance.folded import NOTHING_NEW, Folded


def test_no_line_says_that_nothing_is_left_behind_what_was_done() -> None:
    """Where nothing was done, or something stands in the way, it is said."""
    made = Folded("db", "checkpoints/db/5", 5)
    blocked = Folded("db", reason="2 long transactions were unfinished there")
    assert told([made, Folded("db", reason=NOTHING_NEW)]) == [made]
    assert told([made, blocked]) == [made, blocked]
    assert told([made, Folded("kube", reason=NOTHING_NEW)]) == [made, Folded("kube", reason=NOTHING_NEW)]
