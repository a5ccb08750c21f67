"""``--to`` texts and the sources that they fit."""

from __future__ import annotations

import pytest

from archiver.errors import Invalid
from archiver.replay.targets import Target, match

BOTH = {"agents": "kubernetes", "db": "postgres"}
TWO = {"one": "postgres", "two": "postgres"}
URI = "postgresql://u@h/x"


def test_each_kind_finds_its_source() -> None:
    """A target without a name goes to the one source of its kind, in whatever order they are given."""
    found = match(["kubeconfig:~/.kube/c#ctx", URI], BOTH, [])
    assert found == [Target("agents", "cluster", "kubeconfig:~/.kube/c#ctx"), Target("db", "database", URI)]


@pytest.mark.parametrize("text", [URI, "postgres://h/x", "host=h dbname=x", "dbname=x", "service=mine", "postgresql:///x?host=/run&user=u"])
def test_connection_strings_are_databases(text: str) -> None:
    """URIs and keyword strings of libpq are databases, with and without a source's name."""
    assert match([text], BOTH, [])[0] == Target("db", "database", text)
    assert match([f"db={text}"], BOTH, [])[0] == Target("db", "database", text)


def test_a_folder_fits_everything() -> None:
    """One folder gets a subfolder for each source when there are several, and none when one is chosen or named."""
    assert match(["./out"], BOTH, []) == [Target("agents", "folder", "out/agents"), Target("db", "folder", "out/db")]
    assert match(["./out"], BOTH, ["db"]) == [Target("db", "folder", "./out")]
    assert match(["db=/out"], BOTH, []) == [Target("db", "folder", "/out")]
    assert match(["/out"], {"db": "postgres"}, []) == [Target("db", "folder", "/out")]


@pytest.mark.parametrize(
    ("texts", "kinds", "wanted", "says"),
    [
        ([URI], TWO, [], "several databases"),
        ([f"one={URI}", f"two={URI}"], TWO, [], "same target"),
        (["one=/out", "two=/out"], TWO, [], "same target"),
        (["one=./out", "two=out/"], TWO, [], "same target"),
        ([f"db={URI}", "db=/out"], BOTH, [], "two targets"),
        ([f"db={URI}", "/out"], BOTH, [], "two targets"),
        (["kubeconfig:x"], TWO, [], "no source of the archive fits"),
        ([f"agents={URI}"], BOTH, [], "no source of the archive fits"),
        (["db=kubeconfig:x"], BOTH, [], "no source of the archive fits"),
        ([URI], BOTH, ["agents"], "no source of the archive fits"),
        ([f"db={URI}"], BOTH, ["agents"], "no source of the archive fits"),
        ([], BOTH, ["nobody"], "no source 'nobody'"),
    ],
)
def test_what_cannot_be_meant_is_refused(texts: list[str], kinds: dict[str, str], wanted: list[str], says: str) -> None:
    """Two sources into one place, two places for one source, and places of the wrong kind are errors before anything is opened."""
    with pytest.raises(Invalid, match=says):
        match(texts, kinds, wanted)


@pytest.mark.parametrize(
    "text", ["dbb=postgresql://h/x", "agent=kubeconfig:x", "dbb=./out", "file:///out", "s3://bucket/x", "mysql://h/x", "", "db="]
)
def test_a_slip_of_the_pen_is_no_folder(text: str) -> None:
    """A misspelt source or an unknown kind of place is an error that lists the sources, never a folder of that name."""
    with pytest.raises(Invalid, match="neither a target") as caught:
        match([text], BOTH, [])
    assert "agents, db" in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u:secret@h/x",
        "postgresql://u:se@cret@h/x",
        "postgresql://:secret@h/x",
        "postgresql://h/x?user=u&password=secret&connect_timeout=3",
        "host=h password=secret dbname=x",
        "host=h password = 'se cret' dbname=x",
        r"host=h password='se\'cret' dbname=x",
    ],
)
def test_passwords_are_not_shown(text: str) -> None:
    """Neither a target for people nor an error message carries the password."""
    target = match([text], {"db": "postgres"}, [])[0]
    assert target.value == text
    with pytest.raises(Invalid) as caught:
        match([text], {"agents": "kubernetes"}, [])
    for shown in (target.shown, str(caught.value)):
        assert "cret" not in shown
        assert "h" in shown


def test_a_misspelt_source_is_named_with_its_neighbour() -> None:
    """Where it is chosen, and before a target."""
    for texts, wanted in (["./out"], ["agent-db"]), (["agent-db=postgresql://h/x"], []):
        with pytest.raises(Invalid) as caught:
            match(texts, {"agents-db": "postgres", "agents": "kubernetes"}, wanted)
        assert "did you mean agents-db?" in caught.value.hint
