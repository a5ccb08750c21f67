"""What ``archiver restore`` says of objects of a cluster, and the file of their plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from archiver.cli import output
from archiver.cli.first_rows import print_first
from archiver.cli.given import given_options
from archiver.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from archiver.replay.kubernetes.plan import ClusterPlan
    from archiver.replay.kubernetes.plan_file import PlanFile
    from archiver.replay.restoration import Options
    from archiver.restore import Plans


def read_plan(file: Path, targets: Sequence[str]) -> PlanFile:
    """The plan, where nothing else was said that it has already. What it allows is said on standard error.

    ``Invalid`` without ``targets``: a kubeconfig names servers and programs that are run, so a file that others wrote does not choose it.
    """
    from archiver.replay.kubernetes.plan_file import PlanFile

    beside = {"--plan", "--to", "--no-undo", "--dry-run", "--uid-map", "--show-all", "--json"}
    for option in given_options().values():
        if option not in beside:
            raise Invalid(f"{option} does not go with --plan: the plan has what was chosen", hint="make another plan with --plan-file")
    try:
        planned = PlanFile.read(file.read_bytes(), str(file))
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror}", hint="`restore --dry-run --plan-file FILE` writes a plan") from None
    if not targets:
        raise Invalid(
            f"{file} does not choose what is written to: --to is missing",
            hint=f"name the cluster that you mean; the plan was made for {planned.target}, and is refused for another cluster",
        )
    if planned.choices.allowed:
        output.say(f"note: the plan was made with {', '.join(planned.choices.allowed)}")
    return planned


def as_planned(options: Options, planned: PlanFile) -> Options:
    """``options`` with the choices of the plan."""
    choices = planned.choices
    return msgspec.structs.replace(
        options,
        planned=planned,
        scope=choices.scope,
        mode=choices.mode,
        strict=choices.strict,
        into_source=choices.into_source,
        allow_controllers=choices.allow_controllers,
        allow_gaps=choices.allow_gaps,
        leases=tuple(choices.leases),
        delete=choices.delete if isinstance(choices.delete, int) else None,
        delete_managed=choices.delete_managed is True,
    )


def require_deletable(options: Options) -> None:
    """``Invalid`` for a deletion that is not narrowed down, or goes with nothing."""
    if options.delete is None:
        if options.delete_managed:
            raise Invalid("--delete-managed widens --delete, which is missing", hint="add --delete N")
        return
    if options.mode != "exact" or options.overwrite:
        raise Invalid("--delete goes with --mode exact, and without --overwrite", hint="say --mode exact --delete N")
    if options.scope.moves:
        raise Invalid(
            "--delete does not go with --into-namespace", hint="what lives in the other namespace was never captured as it is there"
        )
    if options.scope.is_everything:
        raise Invalid(
            "--delete without a kind, a namespace, an object or a selector means everything that is captured",
            hint="say what is meant, for example with --namespace",
        )


def say_without_undo(plans: Plans) -> None:
    """Say, before anything is written, of which targets nothing can be taken back."""
    from archiver.replay.kubernetes.restore import ClusterRestoration

    for planned in plans.sources:
        if isinstance(planned, ClusterRestoration) and planned.api is not None and not planned.prepared.captured:
            output.say(f"note: {planned.source}: no undo, because this archive does not capture the target")


def write_plan(plans: Plans, file: Path | None) -> None:
    """Write the plan of the one cluster that is restored."""
    from archiver.replay.kubernetes.restore import ClusterRestoration

    if file is None:
        return
    [planned, *others] = plans.sources
    if others or not isinstance(planned, ClusterRestoration):
        raise Invalid("a plan file is of one Kubernetes source", hint="name it with --source")
    body = planned.file().write()
    try:
        file.write_bytes(body)
    except OSError as error:
        raise Invalid(f"--plan-file {file}: it cannot be written there: {error.strerror}", hint="name a file that may be written") from None


def print_cluster(plan: ClusterPlan, *, show_all: bool) -> None:
    """The plan: what is to be known of it, totals by kind, then each object, or the first of very many."""
    counts: dict[str, int] = {}
    for total in plan.totals():
        counts[total.finding] = counts.get(total.finding, 0) + total.objects
    output.facts(
        [
            ("captured cluster", plan.cluster),
            ("objects", ", ".join(f"{number} {finding}" for finding, number in sorted(counts.items())) or "nothing"),
            *(("gap", text) for text in plan.gaps),
            *(("not undone", text) for text in plan.undone),
            *(("refused", text) for text in plan.refusals),
            *(("would not be taken", text) for text in plan.would_fail),
            *(("not asked", text) for text in plan.not_asked),
            *(("note", text) for text in plan.notes),
            *(("not rewritten", text) for text in plan.naming),
        ]
    )
    output.table("", ["kind", "", "objects"], [(each.resource, each.finding, each.objects) for each in plan.totals()])
    print_first(
        ["", "resource", "namespace", "name", "level", "status", "why"],
        [
            (each.finding, each.resource, each.namespace, each.name, each.level, "yes" if each.status else "", each.why)
            for each in plan.actions
        ],
        "objects",
        show_all=show_all,
    )
