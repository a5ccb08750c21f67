"""What a misspelt name was meant to be."""

from __future__ import annotations

import pytest

from archiver.suggestions import TABLES_LISTED, meant, table_hint

TABLES = ["public.runs", "public.run_events", "billing.invoices"]


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("public.rnus", "did you mean public.runs?"),
        ("public.invoices", "did you mean billing.invoices?"),
        ("public.invoice", "did you mean billing.invoices?"),
        ("public.elephants", TABLES_LISTED),
    ],
)
def test_a_table_is_near_as_a_whole_or_without_its_schema(wrong: str, hint: str) -> None:
    """Who leaves the schema out means public, and may have meant another one."""
    assert table_hint(wrong, TABLES) == hint


def test_what_is_near() -> None:
    """One name, or nothing."""
    assert meant("agent-db", ["agents-db", "kube"]) == "did you mean agents-db? "
    assert meant("xyz", ["agents-db"]) == ""
