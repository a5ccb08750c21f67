"""How many names of a kind are told."""

from __future__ import annotations

from archiver.capture.postgres.preflight.findings import SHOWN, and_others, several


def test_one_is_named_and_many_are_counted() -> None:
    """With the first few names."""
    assert several("table", ["a.b"]) == "table a.b"
    assert several("table", ["a.b", "c.d"]) == "2 tables (a.b, c.d)"
    names = [f"s.t{n}" for n in range(SHOWN + 2)]
    assert several("table", names) == f"{SHOWN + 2} tables ({', '.join(names[:SHOWN])}, …)"


def test_a_statement_says_how_many_it_leaves_out() -> None:
    """Nothing where it names all."""
    assert and_others(range(SHOWN)) == ""
    assert "2 more" in and_others(range(SHOWN + 2))
