"""Reports of drills beside the segments."""

from __future__ import annotations

import pytest

from archiver.errors import Corrupt
from archiver.journal.drill_reports import FAILED, PREFIX, AssertionOutcome, DrillReport, Step, newest, record
from archiver.store.memory import MemoryStore


async def test_the_newest_is_found_once() -> None:
    """Asked again after its key there is none; a newer one is found whatever came between."""
    store = MemoryStore()
    assert await newest(store, ["db"]) == ("", {})
    for finished in (999, 1_000):
        await record(store, DrillReport("latest", 1, finished, True, 5, 1.5, [Step("verify", 1.0, True)], ["db"]))
    key, reports = await newest(store, ["db"])
    assert {name: (report.finished, report.steps[0].name) for name, report in reports.items()} == {"db": (1_000, "verify")}
    assert await newest(store, ["db"], key) == (key, {})
    await record(store, DrillReport("latest", 1, 1_001, True, sources=["db"]))
    _, reports = await newest(store, ["db"], key)
    assert reports["db"].finished == 1_001


async def test_a_drill_of_some_sources_proves_nothing_of_the_others() -> None:
    """Each source has the newest report that names it; one that no drill named has none; one that is not asked for is left out."""
    store = MemoryStore()
    for finished, sources in ((1_000, ["db", "agents"]), (1_001, ["old"]), (1_002, ["db"])):
        await record(store, DrillReport("latest", 1, finished, True, sources=sources))
    key, reports = await newest(store, ["agents", "db", "new"])
    assert {name: report.finished for name, report in reports.items()} == {"agents": 1_000, "db": 1_002}
    assert key.endswith("1002.json")


async def test_fields_of_a_later_version_are_no_obstacle() -> None:
    """What an older program does not know it ignores."""
    store = MemoryStore()
    await store.put_if_absent(
        f"{PREFIX}1.json", b'{"at":"latest","started":1,"finished":2,"sources":["db"],"colour":"green","steps":[{"name":"a","x":1}]}'
    )
    _, reports = await newest(store, ["db"])
    assert reports["db"].finished == 2


async def test_what_is_no_report_is_named() -> None:
    """Something else under the prefix is an error with its key, never a crash."""
    store = MemoryStore()
    await store.put_if_absent(f"{PREFIX}x", b"\xff")
    with pytest.raises(Corrupt, match="drills/x"):
        await newest(store, ["db"])


async def test_a_failed_drill_is_kept_apart() -> None:
    """What found something wrong proves nothing, to older programs neither; one that knew no source yet is about all of them."""
    store = MemoryStore()
    outcome = AssertionOutcome("many", "db", holds=False, expected="at least 1", found="0")
    await record(store, DrillReport("latest", 1, 1_000, sources=["db"], assertions=[outcome]))
    assert await newest(store, ["db"]) == ("", {})
    _, failed = await newest(store, ["db", "agents"], prefix=FAILED)
    assert {name: report.assertions for name, report in failed.items()} == {"db": [outcome]}
    await record(store, DrillReport("latest", 1, 1_001, steps=[Step("verify", exit_code=7)]))
    _, failed = await newest(store, ["db", "agents"], prefix=FAILED)
    assert {name: report.finished for name, report in failed.items()} == {"db": 1_001, "agents": 1_001}
