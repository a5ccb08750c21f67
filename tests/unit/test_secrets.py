"""Secret references."""

from __future__ import annotations

from pathlib import Path

import pytest

from archiver.errors import Invalid
from archiver.secrets import Secret


def test_reads_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """``env:NAME`` is the variable's value as it is now, without the line end that a Secret made from a file has."""
    monkeypatch.setenv("A_SECRET", "one")
    secret = Secret("env:A_SECRET", "some.key")
    assert secret.read() == "one"
    monkeypatch.setenv("A_SECRET", "two\r\n")
    assert secret.read() == "two"


def test_reads_a_file_again(tmp_path: Path) -> None:
    """``file:PATH`` follows the file, without its line end; while it is away or empty the last value stays."""
    file = tmp_path / "secret"
    file.write_text("one\n")
    secret = Secret(f"file:{file}", "some.key")
    assert secret.read() == "one"
    file.write_text("two\r\n")
    assert secret.read() == "two"
    file.write_text("")
    assert secret.read() == "two"
    file.unlink()
    assert secret.read() == "two"


@pytest.mark.parametrize("reference", ["", "hidden", "env:", "file:", "vault:hidden", "ENV:NAME"])
def test_refuses_what_is_no_reference(reference: str) -> None:
    """Text that is not a reference may be the secret itself: the error names the setting and nothing else."""
    with pytest.raises(Invalid, match=r"some\.key") as caught:
        Secret(reference, "some.key")
    assert "hidden" not in str(caught.value)


def test_nothing_there(tmp_path: Path) -> None:
    """A variable or file that is missing or empty is named."""
    (tmp_path / "empty").touch()
    for reference, says in (
        ("env:NO_SUCH_VARIABLE", "NO_SUCH_VARIABLE"),
        (f"file:{tmp_path}/none", "none"),
        (f"file:{tmp_path}/empty", "is empty"),
    ):
        with pytest.raises(Invalid, match=says):
            Secret(reference, "some.key").read()
