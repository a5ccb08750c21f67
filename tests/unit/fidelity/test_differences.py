"""What differs between two databases, and whether a restore said so."""

from __future__ import annotations

from fidelity.differences import Difference, differences, is_said
from fidelity.fingerprint import Fingerprint


def test_what_differs() -> None:
    """Rows, values, things that are missing or came from nowhere; a sequence that is ahead is told apart."""
    one = Fingerprint(
        {("table", "s.a"): (2, "x"), ("table", "s.b"): (1, "y"), ("sequence", "s.q"): (5, "1"), ("sequence", "s.r"): (5, "-1")},
        {("VIEW", "s.v"): "CREATE VIEW\nold;", ("TABLE", "s.a"): "same"},
    )
    other = Fingerprint(
        {("table", "s.a"): (1, "z"), ("table", "s.b"): (1, "w"), ("sequence", "s.q"): (9, "1"), ("sequence", "s.r"): (6, "-1")},
        {("VIEW", "s.v"): "CREATE VIEW\nnew;", ("TABLE", "s.a"): "same", ("INDEX", "s.i"): "i"},
    )
    found = {str(each): each.skipped for each in differences(one, other)}
    assert found == {
        "sequence s.q: next is 9, was 5": True,
        "sequence s.r: next is 6, was 5": False,
        "table s.a: 1 rows, were 2": False,
        "table s.b: other values in 1 rows": False,
        "INDEX s.i: extra": False,
        "VIEW s.v: was 'old;', is 'new;'": False,
    }
    assert list(differences(one, one)) == []
    one.still = False
    assert not any(each.kind == "sequence" for each in differences(one, other))


def test_what_is_said() -> None:
    """A text counts when it names the thing whole; large objects and publications are spoken of as a whole."""
    table = Difference("table", "s.rows", "2 rows, were 3")
    assert is_said(table, ['"s"."rows": inserts are exact'])
    assert not is_said(table, ["s.rows_of_others: inserts are exact", "xs.rows"])
    assert is_said(Difference("FK CONSTRAINT", "s.owned owned_by", "missing"), ["constraint owned_by on s.owned: violated"])
    assert is_said(Difference("large objects", "", "0 rows, were 1"), ["roles, large objects: in the physical backup"])
    assert not is_said(Difference("large objects", "", "0 rows, were 1"), [""])
    assert is_said(Difference("sequence", "s.q", "ahead", skipped=True), [])
    comment = Difference("COMMENT", '-.SUBSCRIPTION "a"', "missing")
    assert is_said(comment, ["roles, subscriptions: in the physical backup"])
    assert not is_said(comment, ["SUBSCRIPTION of another"])
