"""Scripts are cut where psql has no statement pending."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidelity.__main__ import TORTURE
from fidelity.statements import cut


@pytest.mark.parametrize(
    ("script", "pieces"),
    [
        ("SELECT 1; SELECT 2;", ["SELECT 1;", " SELECT 2;"]),
        ("SELECT ';', E'\\';', \";\";SELECT 2", ["SELECT ';', E'\\';', \";\";", "SELECT 2"]),
        ("-- a; b\nSELECT 1 /* ; /* ; */ ; */;\n", ["-- a; b\nSELECT 1 /* ; /* ; */ ; */;", "\n"]),
        ("DO $x$ a; $$ b; $$ $x$;X;", ["DO $x$ a; $$ b; $$ $x$;", "X;"]),
        ("CREATE RULE r AS DO (A; B);C;", ["CREATE RULE r AS DO (A; B);", "C;"]),
        ("COPY t (a) FROM STDIN;\n1;\n'\n\\.\nX;", ["COPY t (a) FROM STDIN;\n1;\n'\n\\.\n", "X;"]),
        ("\\set a ';'\nSELECT 1 \\gset\nX;", ["\\set a ';'\n", "SELECT 1 \\gset\n", "X;"]),
        (
            "A;\\if :x\nCOPY t FROM STDIN;\n;\n\\.\n\\if :y\nB;\n\\endif\n\\else\nC;\n\\endif\nD;",
            ["A;", "\\if :x\nCOPY t FROM STDIN;\n;\n\\.\n\\if :y\nB;\n\\endif\n\\else\nC;\n\\endif\n", "D;"],
        ),
    ],
)
def test_pieces(script: str, pieces: list[str]) -> None:
    """Quotes, comments, bodies, parentheses, rows and commands of psql hide what looks like an end."""
    assert cut(script) == pieces


@given(st.text(alphabet="a;'\"$\\-/*(){}\n eE.x", max_size=60))
def test_nothing_is_lost(script: str) -> None:
    """Whatever a script holds, the pieces are the script."""
    assert "".join(cut(script)) == script


def test_the_torture_database_is_cut_into_statements() -> None:
    """None is so long that a stop inside a file would be missed."""
    for path in TORTURE.rglob("*.sql"):
        assert max(piece.count(";\n") for piece in cut(path.read_text())) <= 10
