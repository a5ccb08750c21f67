"""Every source in one line, and what is wrong with the whole."""

from __future__ import annotations

from typing import Any

import pytest

from archiver.journal.drill_reports import DrillReport
from archiver.service.running import Running, RunningLine, lay_running, local_address
from archiver.service.status import ArchiveStatus, SourceLine
from archiver.service.summary import StatusReport, summarised

NOW = 1_700_000_000_000_000


def line(name: str, state: str = "", age: float | None = 1.0, **more: Any) -> SourceLine:
    kind = "kubernetes" if "/" in name else "postgres"
    values: dict[str, Any] = {"checkpoint": 5, "durable_position": "1", **more}
    return SourceLine(name=name, kind=kind, state=state, rpo_seconds=age, **values)


def report(lines: list[SourceLine], *, asked: bool, age: float = 1.0, damage: str = "") -> StatusReport:
    archive = ArchiveStatus(
        archive="a", url="u", segment=1, epoch=1, last_entry=1, last_commit=NOW, age_seconds=age, sources=lines, damage=damage
    )
    return summarised(archive, {"db": NOW}, {"db": DrillReport("latest", NOW, NOW, passed=True)}, 60, asked=asked)


def test_a_source_is_as_bad_as_its_worst_stream() -> None:
    """But for streams that are captured no more, and those that cost themselves alone."""
    found = report(
        [line("c/g/a", "streaming", 3), line("c/g/b", "starting", 2), line("c/g/old", "ended", 900), line("db", "streaming")], asked=True
    )
    cluster, database = found.summary
    assert (cluster.name, cluster.state, cluster.age_seconds) == ("c", "starting", 3)
    assert (database.restorable_from, database.drill is not None, cluster.restorable_from) == (NOW, True, None)
    apart = report([line("c/g/a", "streaming"), line("c/g/b", "failed", tolerated=True, problem="no rights")], asked=True)
    assert (apart.summary[0].state, apart.problems) == ("streaming", [])
    assert "no rights" in apart.notes[0]


def test_where_nobody_says_which_streams_live_the_youngest_counts() -> None:
    """A resource that is served no more must not make the backup look old."""
    found = report([line("c/g/a", age=3), line("c/g/gone", age=90_000)], asked=False)
    assert (found.summary[0].state, found.summary[0].age_seconds, found.problems) == (None, 3, [])
    assert report([line("c/g/a", age=300), line("c/g/b", age=301)], asked=False).problems == [
        "c: newest durable entry 300 s ago; the RPO is 60 s"
    ]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([line("db", "stopped", problem="nobody reads slot s")], "db: stopped: nobody reads slot s"),
        ([line("db", "streaming", problem="rows of 1 tables are not in the journal")], "rows of 1 tables"),
        ([line("db", "streaming", checkpoint=0)], "no complete baseline"),
        ([line("db", "ended")], "nothing is captured"),
        ([], "nothing is captured"),
    ],
)
def test_what_is_wrong_is_told_without_a_running_archiver(lines: list[SourceLine], says: str) -> None:
    """By the journal and the database alone."""
    [text] = report(lines, asked=False).problems
    assert says in text


def test_a_journal_that_is_old_or_damaged_is_a_problem() -> None:
    """Whoever was asked."""
    for asked in (True, False):
        found = report([line("db", "streaming")], asked=asked, age=61, damage="segment 7 cannot be read")
        assert found.problems == ["segment 7 cannot be read", "the journal was last durable 61 s ago; the RPO is 60 s"]


def test_open_gaps_are_counted_by_stream() -> None:
    """Unknown since some time, or since its beginning."""
    found = report([line("c/g/a", unknown_since=0), line("c/g/b", unknown_since=NOW), line("c/g/c")], asked=False)
    assert found.summary[0].open_gaps == 2


def test_what_runs_says_more_than_the_journal() -> None:
    """Its states and ages are laid over the lines; what the journal does not know gets a line."""
    lines = [line("db"), line("c/g/a", age=50)]
    said = [RunningLine(name="c/g/a", state="streaming", rpo_seconds=2.0), RunningLine(name="c/g/b", kind="kubernetes", state="starting")]
    lay_running(lines, Running("a", said))
    assert [(each.name, each.state, each.rpo_seconds) for each in lines] == [
        ("db", "", 1.0),
        ("c/g/a", "streaming", 2.0),
        ("c/g/b", "starting", None),
    ]


@pytest.mark.parametrize(("listen", "address"), [("0.0.0.0:80", "127.0.0.1:80"), (":80", "127.0.0.1:80"), ("[::]:80", "[::1]:80")])
def test_what_listens_everywhere_is_asked_here(listen: str, address: str) -> None:
    """As are addresses of this machine alone."""
    assert local_address(listen) == address
    assert local_address("127.0.0.2:80") == "127.0.0.2:80"
