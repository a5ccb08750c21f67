"""Reports of drills beside the segments."""

from __future__ import annotations

import msgspec
import pytest

from archiver.errors import Corrupt
from archiver.journal.drill_reports import FAILED, LATE, PREFIX, AssertionOutcome, DrillReport, Step, newest, record
from archiver.store.memory import MemoryStore
from tests.unit.journal.counting_store import CountingStore


async def test_the_newest_is_found_once() -> None:
    """Asked again an hour behind its key there is none; a newer one is found whatever came between."""
    store = MemoryStore()
    assert await newest(store, ["db"]) == ("", {})
    for finished in (999, 1_000):
        await record(store, DrillReport("latest", 1, finished, True, 5, 1.5, [Step("verify", 1.0, True)], ["db"]))
    key, reports = await newest(store, ["db"])
    assert {name: (report.finished, report.steps[0].name) for name, report in reports.items()} == {"db": (1_000, "verify")}
    late = f"{PREFIX}{1_001 + LATE:020d}.json"
    assert (await newest(store, ["db"], late)) == (late, {})
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
    for later in ("db", "new"):
        await record(store, DrillReport("latest", 1, 1_002 + len(later), sources=[later]))
    _, failed = await newest(store, ["db", "agents", "new"], prefix=FAILED, now=2_000)
    assert {name: report.finished for name, report in failed.items()} == {"db": 1_004, "agents": 1_001, "new": 1_005}


async def test_as_many_requests_tell_of_many_drills_as_of_few() -> None:
    """The newest report leads to those of sources that had no part in it, however long ago; of a source without any, none is looked for."""
    calls = []
    for count in (40, 4_000):
        store, day = CountingStore(), 86_400_000_000
        await record(store, DrillReport("latest", 1, 600 * day, True, sources=["agents"]))
        for number in range(count):
            await record(store, DrillReport("latest", 1, 601 * day + number * day * 4_000 // count, True, sources=["db"]))
        last = 601 * day + (count - 1) * day * 4_000 // count
        store.calls.clear()
        key, reports = await newest(store, ["agents", "db", "new"], now=last + day)
        assert {name: report.finished for name, report in reports.items()} == {"agents": 600 * day, "db": last}
        assert key == f"{PREFIX}{last:020d}.json"
        calls.append(dict(store.calls))
    assert calls[0]["get"] == calls[1]["get"] == 2
    assert max(each["list"] for each in calls) <= 4


async def test_drills_that_end_at_once_do_not_hide_each_other() -> None:
    """Neither knew of the other when it was recorded."""
    store = MemoryStore()
    await record(store, DrillReport("latest", 1, 1_000, True, sources=["a", "b", "c"]))
    first = DrillReport("latest", 1, 1_001, True, sources=["a"], behind=f"{PREFIX}{1_000:020d}.json")
    await store.put_if_absent(f"{PREFIX}{1_001:020d}.json", msgspec.json.encode(first))
    others = dict.fromkeys("ac", f"{PREFIX}{1000:020d}.json")
    second = DrillReport("latest", 1, 1_002, True, sources=["b"], behind=first.behind, others=others)
    await store.put_if_absent(f"{PREFIX}{1_002:020d}.json", msgspec.json.encode(second))
    for now in (0, 2_000, 10_000 * 86_400_000_000):
        _, reports = await newest(store, "abc", now=now)
        assert {name: report.finished for name, report in reports.items()} == {"a": 1_001, "b": 1_002, "c": 1_000}
    await record(store, DrillReport("latest", 1, 1_003, True, sources=["d"]))
    _, reports = await newest(store, "abcd")
    assert {name: report.finished for name, report in reports.items()} == {"a": 1_001, "b": 1_002, "c": 1_000, "d": 1_003}


async def test_reports_of_an_older_program_are_read_back_until_one_tells() -> None:
    """Old and new ones, in any order; those before the first that tells are not read again."""
    store = CountingStore()
    for number in range(20):
        report = msgspec.to_builtins(DrillReport("latest", 1, 1_000 + number, True, sources=["old" if number == 3 else "db"]))
        del report["others"], report["behind"]
        await store.put_if_absent(f"{PREFIX}{1_000 + number:020d}.json", msgspec.json.encode(report))
    await record(store, DrillReport("latest", 1, 2_000 + LATE, True, sources=["db"]))
    store.calls.clear()
    _, reports = await newest(store, ["db", "old", "never"])
    assert {name: report.finished for name, report in reports.items()} == {"db": 2_000 + LATE, "old": 1_003}
    assert store.calls["get"] == 2


@pytest.mark.parametrize("passed", [True, False])
async def test_what_is_put_late_counts(passed: bool) -> None:
    """By a slow store, or a clock that lags: for who asks from then on, for who asks on from the newest key, and whatever comes later."""
    prefix, store, day = PREFIX if passed else FAILED, MemoryStore(), 86_400_000_000
    for finished, source in ((day, "b"), (day + 100, "a"), (day + 200, "a")):
        await record(store, DrillReport("latest", 1, finished, passed, sources=[source]))
    key, first = await newest(store, "ab", prefix=prefix)
    assert (key, first["b"].finished) == (f"{prefix}{day + 200:020d}.json", day)
    await record(store, DrillReport("latest", 1, day + 50, passed, sources=["b"]))
    for after in ("", key):
        for now in (0, day + 300):
            _, reports = await newest(store, "ab", after, prefix=prefix, now=now)
            assert {name: report.finished for name, report in reports.items()} == {"a": day + 200, "b": day + 50}
    for later in (day + 300, day + LATE + 300, 3 * day, 40 * day):
        await record(store, DrillReport("latest", 1, later, passed, sources=["a"]))
        await record(store, DrillReport("latest", 1, later - LATE + 1, passed, sources=["c"]))
        for now in (0, later + 1):
            _, reports = await newest(store, "abc", prefix=prefix, now=now)
            found = {name: report.finished for name, report in reports.items()}
            assert found == {"a": later, "b": day + 50, "c": later - LATE + 1}


@pytest.mark.parametrize("passed", [True, False])
async def test_a_report_counts_for_what_it_is_about(passed: bool) -> None:
    """Whatever others say of it: then the newest that is about the source is looked for, and named from there on."""
    prefix, store, hour = PREFIX if passed else FAILED, CountingStore(), LATE
    for finished, source in ((hour, "a"), (2 * hour, "b")):
        await record(store, DrillReport("latest", 1, finished, passed, sources=[source]))
    wrong = dict.fromkeys(["a", "never", ""], f"{prefix}{2 * hour:020d}.json")
    lying = DrillReport("latest", 1, 9 * hour, passed, sources=["c"], behind=f"{prefix}{2 * hour:020d}.json", others=wrong)
    await store.put_if_absent(f"{prefix}{9 * hour:020d}.json", msgspec.json.encode(lying))
    _, reports = await newest(store, ["a", "never"], prefix=prefix)
    assert {name: report.finished for name, report in reports.items()} == {"a": hour}
    await record(store, DrillReport("latest", 1, 11 * hour, passed, sources=["c"]))
    store.calls.clear()
    _, reports = await newest(store, ["a", "c", "never"], prefix=prefix)
    assert {name: report.finished for name, report in reports.items()} == {"a": hour, "c": 11 * hour}
    assert store.calls["get"] == 2
