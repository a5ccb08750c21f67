"""The plan of ``archiver restore``, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archiver.cli import output
from archiver.cli.cluster_plans import print_cluster
from archiver.cli.excerpts import print_planned
from archiver.cli.first_rows import print_first
from archiver.replay.kubernetes.restore import ClusterRestoration
from archiver.replay.postgres.restore import TABLE_COLUMNS, DatabaseRestoration, ExcerptRestoration
from archiver.restore import summary

if TYPE_CHECKING:
    from archiver.restore import Plans


def print_plans(plans: Plans, *, show_all: bool) -> None:
    """Each source's plan: what decides about it first, its totals, and then the first objects and tables, unless ``show_all``."""
    output.facts(list(summary(plans).items()))
    for planned in plans.sources:
        output.heading(planned.source, f" -> {planned.target.shown if planned.target else 'no target'}")
        if isinstance(planned, DatabaseRestoration):
            _print_database(planned, show_all=show_all)
        elif isinstance(planned, ExcerptRestoration):
            print_planned(planned)
        elif isinstance(planned, ClusterRestoration):
            print_cluster(planned.plan, show_all=show_all)


def _print_database(planned: DatabaseRestoration, *, show_all: bool) -> None:
    output.facts(planned.plan.facts())
    print_first(TABLE_COLUMNS, planned.plan.table_rows(), "tables", show_all=show_all)
    output.facts([("replaced in the target", text) for text in planned.in_the_way])
    output.facts([("note", text) for text in planned.notes])
    if planned.refusal is not None:
        output.facts([("REFUSED", planned.refusal.message), ("hint", planned.refusal.hint)])
