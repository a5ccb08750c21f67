"""Which source a question means that names none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from archiver.errors import Invalid
from archiver.history.only_source import only_source
from archiver.journal.reader import Reader


def reader(*names: str) -> Reader:
    async def tail() -> Any:
        return SimpleNamespace(sources=dict.fromkeys(names)) if names else None

    return cast(Reader, SimpleNamespace(tail=tail))


async def test_the_only_one_of_its_sort() -> None:
    """A row is of the only database, an object of the only cluster, however many of the other sort there are."""
    both = reader("", "db", "kube/g.io/things", "kube/g.io/others@a")
    assert await only_source(both, cluster=False) == "db"
    assert await only_source(both, cluster=True) == "kube"


async def test_several_or_none() -> None:
    """Is an error that names those that there are."""
    with pytest.raises(Invalid, match="has 2 databases") as several:
        await only_source(reader("a", "b", "kube/g.io/things"), cluster=False)
    assert several.value.hint == "name one with --source: a, b"
    for made in (reader("a"), reader()):
        with pytest.raises(Invalid, match="has no cluster"):
            await only_source(made, cluster=True)
