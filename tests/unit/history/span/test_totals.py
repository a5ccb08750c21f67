"""How many changes there are of what."""

from __future__ import annotations

from archiver.history.span.changes import Change
from archiver.history.span.totals import Totals


def test_the_largest_first_and_none_left_out() -> None:
    """Tables and kinds by their number of changes; many small ones as one line."""
    totals = Totals()
    for operation in ("update", "insert", "update"):
        totals.add(Change(1, 1, 1, "db", operation, table="public.a"))
    for number in range(60):
        totals.add(Change(1, 1, 1, "kube", "added", kind=f"kind{number:02}.g.io", name="one"))
    lines = totals.lines()
    assert lines[0] == ("db", "public.a", "3", "2 update, 1 insert")
    assert lines[1] == ("kube", "kind00.g.io", "1", "1 added")
    assert lines[-1] == ("", "11 others", "11", "")
    assert sum(int(number) for _, _, number, _ in lines) == totals.all == 63
