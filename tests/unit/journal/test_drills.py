"""Reports of drills beside the segments."""

from __future__ import annotations

import pytest

from archiver.errors import Corrupt
from archiver.journal.drills import PREFIX, DrillReport, Step, newest, record
from archiver.store.memory import MemoryStore


async def test_the_newest_is_found_once() -> None:
    """Asked again after its key there is none; a newer one is found whatever came between."""
    store = MemoryStore()
    assert await newest(store) == ("", None)
    for finished in (999, 1_000):
        await record(store, DrillReport("latest", 1, finished, True, 5, 1.5, [Step("verify", 1.0, True)], ["db"]))
    key, report = await newest(store)
    assert report is not None
    assert (report.finished, report.steps[0].name, report.sources) == (1_000, "verify", ["db"])
    assert await newest(store, key) == (key, None)
    await record(store, DrillReport("latest", 1, 1_001, True))
    _, report = await newest(store, key)
    assert report is not None
    assert report.finished == 1_001


async def test_fields_of_a_later_version_are_no_obstacle() -> None:
    """What an older program does not know it ignores."""
    store = MemoryStore()
    await store.put_if_absent(f"{PREFIX}1.json", b'{"at":"latest","started":1,"finished":2,"colour":"green","steps":[{"name":"a","x":1}]}')
    _, report = await newest(store)
    assert report is not None
    assert report.finished == 2


async def test_what_is_no_report_is_named() -> None:
    """Something else under the prefix is an error with its key, never a crash."""
    store = MemoryStore()
    await store.put_if_absent(f"{PREFIX}x", b"\xff")
    with pytest.raises(Corrupt, match="drills/x"):
        await newest(store)
