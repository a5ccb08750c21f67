"""One status from what the journal and the running sources say, and whether the backup is what was promised."""

from __future__ import annotations

from typing import Any

import pytest

from archiver.capture.status import SourceStatus, State
from archiver.journal.entry import SourceMark
from archiver.service.status import ArchiveStatus, SourceLine, lay_over, lines, problems, shown

NOW = 1_700_000_000_000_000


def stream(name: str, state: State = "streaming", **more: Any) -> SourceStatus:
    return SourceStatus(name=name, kind="kubernetes", state=state, **more)


def database(state: State = "streaming", **more: Any) -> SourceStatus:
    return SourceStatus(name="db", kind="postgres", state=state, **more)


def mark(age_seconds: float = 1, checkpoint: int = 5, control: int = 0) -> SourceMark:
    return SourceMark(position="1", observed=NOW - int(age_seconds * 1e6), checkpoint=checkpoint, control=control)


def archive(sources: list[SourceLine], age: float = 1) -> ArchiveStatus:
    return ArchiveStatus(archive="a", url="u", segment=1, epoch=1, last_entry=1, last_commit=NOW, age_seconds=age, sources=sources)


def test_lines_of_a_journal() -> None:
    """Every source that the journal knows has a line with its age; a configured database also before its first entry."""
    found = {line.name: line for line in lines({"agents/g/p": mark(3), "": mark()}, {"db": "postgres", "agents": "kubernetes"}, NOW)}
    assert sorted(found) == ["agents/g/p", "db"]
    assert found["agents/g/p"].kind == "kubernetes"
    assert found["agents/g/p"].rpo_seconds == pytest.approx(3)
    assert found["db"].rpo_seconds is None
    assert found["db"].checkpoint == 0


def test_an_entry_from_the_future_has_no_age() -> None:
    """Some clock was wrong. What a writer that runs knows is better than any difference of times."""
    assert lines({"db": mark(-0.5)}, {}, NOW)[0].rpo_seconds == 0
    assert lines({"db": mark(-10)}, {}, NOW)[0].rpo_seconds is None
    assert lines({"db": mark(-10)}, {}, NOW, lambda _: 3.0)[0].rpo_seconds == 3


def test_json_has_null_for_what_is_not_known() -> None:
    """Only the process that captures knows what it counted; nobody knows a time or a position that there never was."""
    found = shown(archive(lines({}, {"db": "postgres"}, NOW)), running=False)
    [line] = found["sources"]
    unknown = {
        "durable_position",
        "newest_change",
        "observed",
        "checkpoint",
        "last_baseline",
        "state",
        "lag_bytes",
        "entries",
        "gaps",
        "restarts",
    }
    assert {name for name in unknown if line[name] is not None} == set()
    live = archive(lines({"db": mark()}, {"db": "postgres"}, NOW))
    lay_over(live.sources, [(database(), 0, "")])
    [line] = shown(live, running=True)["sources"]
    assert (line["state"], line["entries"], line["checkpoint"]) == ("streaming", 0, 5)
    empty = ArchiveStatus(archive="", url="u", segment=-1, epoch=0, last_entry=0, last_commit=0, age_seconds=1)
    assert shown(empty, running=True)["last_commit"] is None


def test_what_is_not_known_of_a_source_is_not_ready() -> None:
    """It streams, and a restore has a gap all the same."""
    found = lines({"db": mark()}, {"db": "postgres"}, NOW)
    lay_over(found, [(database(unknown_since=NOW, warnings=["schema: locked"]), 0, "")])
    assert "schema: locked" in problems(archive(found), 60)[0]


def test_a_baseline_before_a_gap_does_not_count() -> None:
    """After a gap or a lost slot (control) the older checkpoint of a database is no baseline of what follows; lists of objects need none."""
    found = {
        line.name: line.checkpoint for line in lines({"db": mark(checkpoint=5, control=9), "a/g/p": mark(checkpoint=5, control=9)}, {}, NOW)
    }
    assert found == {"db": 0, "a/g/p": 5}


def test_parts_speak_for_their_lines() -> None:
    """A source with streams is shown stream by stream, and not as a whole besides."""
    found = lines({"agents/g/p": mark()}, {"agents": "kubernetes"}, NOW)
    lay_over(
        found,
        [(SourceStatus(name="agents", kind="kubernetes", parts=[stream("agents/g/p", frames=7), stream("agents/g/q", "baseline")]), 2, "")],
    )
    assert [(line.name, line.state, line.entries, line.failures) for line in found] == [
        ("agents/g/p", "streaming", 7, 2),
        ("agents/g/q", "baseline", 0, 2),
    ]


def test_before_its_streams_are_known_a_source_speaks_for_those_of_its_last_life() -> None:
    """While a cluster cannot be reached none of its streams looks like one that ended."""
    found = lines({"agents/g/p": mark(), "agents2/g/p": mark()}, {}, NOW)
    lay_over(found, [(SourceStatus(name="agents", kind="kubernetes"), 3, "the API server does not answer")])
    assert [(line.name, line.state, line.problem) for line in found] == [
        ("agents/g/p", "failed", "the API server does not answer"),
        ("agents2/g/p", "ended", ""),
    ]
    assert problems(archive(found), 60) == ["agents/g/p: failed: the API server does not answer"]


def test_a_source_that_the_journal_does_not_know_has_a_line() -> None:
    """A cluster that never answered is shown under the source's own name."""
    found: list[SourceLine] = []
    lay_over(found, [(SourceStatus(name="agents", kind="kubernetes"), 1, "away")])
    assert [(line.name, line.state, line.problem) for line in found] == [("agents", "failed", "away")]


def test_nothing_selected_is_not_a_working_backup() -> None:
    """When nothing that the settings select is served, old streams have ended and readiness says that nothing is captured."""
    found = lines({"agents/g/p": mark()}, {}, NOW)
    lay_over(found, [(SourceStatus(name="agents", kind="kubernetes", state="streaming"), 0, "")])
    assert {line.name: line.state for line in found} == {"agents/g/p": "ended", "agents": "starting"}
    assert problems(archive(found), 60) == ["agents: starting: nothing that the settings select is served"]


def test_what_is_captured_no_more_has_neither_age_nor_say() -> None:
    """A resource that is not served any more, and a source that is not configured any more, keep their positions and ring no alarm."""
    found = lines({"agents/g/old": mark(9999), "gone": mark(9999), "db": mark()}, {}, NOW)
    parts = [stream("agents/g/old", "stopped", detail="not served"), stream("agents/g/p")]
    agents = SourceStatus(name="agents", kind="kubernetes", state="streaming", parts=parts)
    found.append(SourceLine(name="agents/g/p", kind="kubernetes", checkpoint=1, rpo_seconds=1))
    lay_over(found, [(agents, 0, ""), (database(), 0, "")])
    ended = {line.name: (line.rpo_seconds, line.durable_position) for line in found if line.state == "ended"}
    assert ended == {"agents/g/old": (None, "1"), "gone": (None, "1")}
    assert problems(archive(found), 60) == []


@pytest.mark.parametrize(("received", "ready"), [("1", True), ("2", False), ("", False)])
def test_a_watch_that_lives_counts(received: str, ready: bool) -> None:
    """An idle kind is told by a bookmark only now and then: while its watch is open and all that came is durable, nothing would be lost."""
    found = lines({"agents/g/p": mark(200)}, {}, NOW)
    agents = SourceStatus(name="agents", kind="kubernetes", state="streaming", parts=[stream("agents/g/p", received=received)])
    lay_over(found, [(agents, 0, "")])
    assert (problems(archive(found), 60) == []) is ready


def test_a_source_that_stops_is_not_one_that_ended() -> None:
    """During a stop readiness is lost, not regained."""
    found = lines({"agents/g/p": mark(), "db": mark()}, {}, NOW)
    agents = SourceStatus(name="agents", kind="kubernetes", state="stopped", parts=[stream("agents/g/p", "stopped")])
    lay_over(found, [(agents, 0, ""), (database("stopped"), 0, "")])
    assert [line.state for line in found] == ["stopped", "stopped"]
    assert len(problems(archive(found), 60)) == 2


@pytest.mark.parametrize(
    ("source", "marked", "says"),
    [
        (database("starting"), mark(), "db: starting"),
        (database("baseline", detail="baseline: 7 rows"), mark(), "db: baseline: baseline: 7 rows"),
        (database(), mark(checkpoint=0), "no complete baseline"),
        (database(), mark(61), "newest durable entry 61 s ago; the RPO is 60 s"),
        (database(), SourceMark(checkpoint=5), "newest durable entry never"),
    ],
)
def test_each_way_not_to_be_ready_is_told(source: SourceStatus, marked: SourceMark, says: str) -> None:
    """One sentence for one problem, with figures."""
    found = lines({"db": marked}, {}, NOW)
    lay_over(found, [(source, 0, "")])
    assert len(told := problems(archive(found), 60)) == 1
    assert says in told[0]


def test_the_archive_itself() -> None:
    """An archive that is not open, not durable, or without sources is not ready whatever the sources say."""
    assert "not open" in problems(ArchiveStatus(archive="", url="", segment=-1, epoch=0, last_entry=0, last_commit=0, age_seconds=1), 60)[0]
    found = lines({"db": mark()}, {}, NOW)
    lay_over(found, [(database(), 0, "")])
    assert problems(archive(found), 60) == []
    assert "last durable 61 s ago" in problems(archive(found, age=61), 60)[0]
    assert problems(archive([]), 60) == ["nothing is captured"]
