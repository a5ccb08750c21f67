"""How ``archiver restore`` ends: whoever reads its exit code alone knows whether the target was touched."""

from __future__ import annotations

import pytest

from archiver.cli.restore import _judge
from archiver.errors import Partial
from archiver.replay.kubernetes.to_cluster import ClusterReport
from archiver.replay.postgres.plan.plan import LeftOutItem, Moment, RestoreReport
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
        _judge(done)


def test_all_that_came_back_is_no_error() -> None:
    """Nothing is raised where no target lacks anything."""
    _judge([_cluster(), _database()])
