"""How ``archiver restore`` ends: whoever reads its exit code alone knows whether the target was touched."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from archiver.cli.restore import judge
from archiver.errors import Partial
from archiver.replay.kubernetes.plan_file import PlanFile
from archiver.replay.kubernetes.to_cluster import ClusterReport
from archiver.replay.postgres.plan.plan import LeftOutItem, Moment, RestoreReport
from archiver.replay.restoration import Options
from archiver.restore import RestoredSource


def _cluster(*failures: str) -> RestoredSource:
    return RestoredSource("agents", "the target", ClusterReport(failures=list(failures)))


def _database(*left_out: LeftOutItem) -> RestoredSource:
    point = Moment("latest", "latest", 1, "0/1", 1)
    report = RestoreReport(
        source="db", point=point, target="", tables=[], rows=0, left_out=list(left_out), left_out_file="left.sql" if left_out else ""
    )
    return RestoredSource("db", "the target", report)


_INDEX = LeftOutItem("index runs_key", "duplicates")


@pytest.mark.parametrize(
    ("done", "says"),
    [
        ([_cluster("widgets/a: 422")], "first agents: widgets/a: 422"),
        ([_database(_INDEX), _cluster()], "first db: index runs_key: duplicates"),
        ([_database(_INDEX), _cluster("widgets/a: 422")], "2 objects are not as captured, first agents: widgets/a: 422"),
    ],
)
def test_what_a_target_did_not_take_is_partial(done: list[RestoredSource], says: str) -> None:
    """Of a cluster as of a database: the rest was written, so it is never called refused, which touches nothing."""
    with pytest.raises(Partial, match=says):
        judge(done, Options())


def test_all_that_came_back_is_no_error() -> None:
    """Nothing is raised where no target lacks anything."""
    judge([_cluster(), _database()], Options())


_PLAN = PlanFile.read((Path(__file__).parents[2] / "golden/cluster-plan-v1/plan.json").read_bytes(), "plan")


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (Options(), r"\(--object\) with --mode exact"),
        (Options(mode="merge"), "run the same command again"),
        (Options(mode="exact"), "run the same command again"),
        (Options(overwrite=True), "run the same command again"),
        (Options(planned=_PLAN), "make a new plan with --mode exact"),
    ],
)
def test_the_hint_leads_to_what_is_missing(options: Options, hint: str) -> None:
    """The same command would pass over an object that was made without its status, and end well."""
    with pytest.raises(Partial) as raised:
        judge([_cluster("widgets/a status: 422")], options)
    assert re.search(hint, raised.value.hint)
