"""The forms of an answer: a table that fits the terminal, CSV that nothing acts on."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from rich.cells import cell_len

from archiver.cli import output
from archiver.cli.main import cli
from archiver.cli.span_log import print_table
from archiver.history.span.changes import Change, Field

TEXTS = st.text(alphabet=st.sampled_from("ab=+-@\x1b\n\t\"',;\u202e漢字 é0"), max_size=150)
VALUES: st.SearchStrategy[Any] = st.one_of(TEXTS, st.none(), st.just(UNSET), st.lists(TEXTS, max_size=3))


@given(st.builds(Field, TEXTS, VALUES, VALUES), TEXTS, TEXTS, st.integers(40, 120))
@settings(max_examples=150, deadline=None)
def test_no_line_is_wider_than_the_terminal_and_nothing_is_left_out(field: Field, name: str, detail: str, width: int) -> None:
    """Whatever a source calls things; control characters are escapes."""
    change = Change(1, 2, 3, "kube", "modified", kind="things.g.io", namespace="n", name=name, fields=[field], detail=detail)
    with pytest.MonkeyPatch.context() as patch:
        said = io.StringIO()
        patch.setattr("sys.stdout", said)
        print_table(change, width)
        folded = said.getvalue()
        patch.setattr("sys.stdout", said := io.StringIO())
        print_table(change, 0)
        whole = said.getvalue()
    assert all(cell_len(line) <= width for line in folded.splitlines())
    assert folded.replace("\n", "").replace(" ", "") == whole.replace("\n", "").replace(" ", "")
    assert not set("\x1b\u202e\t") & set(folded)
    assert len(whole.splitlines()) == 3


def test_what_was_before_and_what_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    """NULL, an empty text, nothing and not known are told apart."""
    fields = [
        Field("a", None, ""),
        Field("b", new="x", old_known=False),
        Field("c", new=[1]),
        Field("d", old="gone"),
        Field("e", old={"x": None}, new=UNSET),
    ]
    print_table(Change(1, 2, 1_000_000, "db", "update", table="public.t", key={"id": "1"}, fields=fields, transaction=7), 80)
    assert capsys.readouterr().out.splitlines() == [
        "1970-01-01T00:00:01.000000Z  update    db public.t id=1",
        "    a: NULL -> ''",
        "    b: (not known) -> x",
        "    c = [1]",
        "    d was gone",
        '    e was {"x":null}',
        "    (transaction 7, at 2)",
    ]


@given(st.lists(st.none() | TEXTS, min_size=2, max_size=5))
@settings(max_examples=100, deadline=None)
def test_csv_has_one_line_that_reads_back(cells: list[str | None]) -> None:
    """NULL is nothing and an empty text is not; no cell begins as a formula does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", said := io.StringIO())
        output.csv_line(cells)
    text = said.getvalue()
    assert text.count("\n") == 1
    (row,) = csv.reader([text])
    assert len(row) == len(cells)
    for cell, read in zip(cells, row, strict=True):
        assert not read.startswith(("=", "+", "@"))
        assert (read == "") == (not cell)
    assert all((piece == "") == (cell is None) for piece, cell in zip(_raw(text.rstrip("\n")), cells, strict=True))


def _raw(line: str) -> list[str]:
    """Cells with their quotes."""
    found, start, quoted = [], 0, False
    for place, character in enumerate(line):
        quoted ^= character == '"'
        if character == "," and not quoted:
            found.append(line[start:place])
            start = place + 1
    return [*found, line[start:]]


@pytest.mark.parametrize(("cell", "shown"), [("-5", '"-5"'), ("-cmd", '"\'-cmd"'), ('a"b', '"a""b"'), ("=1+1", '"\'=1+1"')])
def test_a_number_stays_a_number(cell: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And a formula becomes text."""
    output.csv_line([cell])
    assert capsys.readouterr().out == f"{shown}\n"


@pytest.mark.parametrize(
    "more",
    [
        ("--operation", "delete"),
        ("--transaction", "7"),
        ("--like", "id=*"),
        ("--follow",),
        ("--csv",),
        ("--format", "csv"),
        ("--allow-gaps",),
        ("--kind", "x"),
        ("--namespace", "n"),
        ("--manager", "m"),
    ],
)
@pytest.mark.parametrize("subject", [("--table", "t", "--key", "id=1"), ("--object", "things.g.io/n/one")])
def test_what_would_not_be_looked_at_is_refused(subject: tuple[str, ...], more: tuple[str, ...]) -> None:
    """An answer about one row or object has no filters and two forms."""
    done = CliRunner().invoke(cli, ["--archive", "file:///nowhere", "log", "--source", "db", *subject, *more])
    assert f"{more[0]}: not with --key or --object" in str(done.exception), done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--format", "parquet"), "--format parquet writes a file"),
        (("--output", "x.parquet"), "--output is of --format parquet"),
        (("--format", "parquet", "--csv", "-o", "x"), "an answer has one form"),
        (("--format", "parquet", "-o", "x", "--follow"), "a Parquet file has an end"),
        (("--format", "parquet", "-o", "/nowhere/x"), "lies in the archive itself"),
    ],
)
def test_a_form_that_cannot_be_meant_is_refused(words: tuple[str, ...], said: str) -> None:
    """One form, a file where it needs one and nowhere else, and none of those in the archive."""
    done = CliRunner().invoke(cli, ["log", *words], env={"ARCHIVER_ARCHIVE__URL": "file:///nowhere"})
    assert said in str(done.exception), done.output
