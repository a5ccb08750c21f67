"""Every store there is, each empty and of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from archiver.store.directory import DirectoryStore
from archiver.store.memory import MemoryStore
from archiver.store.open import open_store
from archiver.store.protocol import Store
from tests.fixtures.fix_s3 import S3Place


@pytest.fixture(params=["memory", "directory", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store of each kind."""
    made: Store
    if request.param == "memory":
        made = MemoryStore()
    elif request.param == "directory":
        made = DirectoryStore(tmp_path / "archive")
    else:
        place: S3Place = request.getfixturevalue("s3_place")
        made = await open_store(place.url, place.options())
    yield made
    await made.close()
