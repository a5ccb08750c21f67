"""``archiver restore``: a plan first; what runs is that plan."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from archiver.cli import output
from archiver.cli.cluster_plans import as_planned, read_plan, require_deletable, say_without_undo, write_plan
from archiver.cli.given import given_options
from archiver.cli.loading import loading
from archiver.cli.main import Context, wait_for
from archiver.cli.points import FORMS, say_meaning
from archiver.cli.restored import print_done
from archiver.cli.seconds import Seconds
from archiver.errors import Invalid, Partial, Unavailable
from archiver.pages import page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from archiver.replay.excerpt import Excerpt
    from archiver.replay.fitting import Place
    from archiver.replay.kubernetes.plan import Mode
    from archiver.replay.restoration import Options
    from archiver.restore import Plans, RestoredSource
    from archiver.settings import Settings


@click.command()
@click.option("--at", "at", default="", metavar="POINT", help=FORMS)
@click.option(
    "--to",
    "targets",
    multiple=True,
    metavar="[SOURCE=]TARGET",
    help="postgresql://… (an empty database), kubeconfig:PATH[#CONTEXT], or a folder. SOURCE= where the archive has several sources.",
)
@click.option(
    "--source", "sources", multiple=True, metavar="NAME", help="Only this source (repeatable); default: all that the targets fit."
)
@click.option("--kind", "kinds", multiple=True, metavar="PLURAL[.GROUP]", help="Kubernetes: only these kinds (repeatable).")
@click.option("--namespace", "namespaces", multiple=True, metavar="NAME", help="Kubernetes: only these namespaces (repeatable).")
@click.option(
    "--object",
    "objects",
    multiple=True,
    metavar="KIND/NAMESPACE/NAME",
    help="Kubernetes: only this object (repeatable), as plural.group/namespace/name; without namespace where it has none.",
)
@click.option(
    "--selector",
    "-l",
    "labels",
    default="",
    metavar="LABELS",
    help="Kubernetes: only objects whose labels fit, as for kubectl -l: app=web.",
)
@click.option(
    "--into-namespace",
    "moves",
    multiple=True,
    metavar="OLD=NEW",
    help="Kubernetes: the objects of one namespace into another one (repeatable). What names the old one in their fields is listed.",
)
@click.option(
    "--table", "tables", multiple=True, metavar="[SCHEMA.]TABLE", help="PostgreSQL: only this table, named as at the point (repeatable)."
)
@click.option("--schema", "schemas", multiple=True, metavar="NAME", help="PostgreSQL: only the tables of this schema (repeatable).")
@click.option(
    "--rows",
    "rows",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="With one --table: only rows with this value in a column of its key. Again: another value of it, or another column too.",
)
@click.option("--into-schema", default="", metavar="NAME", help="With --table or --schema: into this new schema of the database in --to.")
@click.option(
    "--merge-script",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="With one --table: write SQL that gives the live table in --to the rows of the point. The table itself is only read.",
)
@click.option(
    "--wait",
    "wait",
    type=Seconds(),
    default=0.0,
    metavar="SECONDS",
    help="Wait this long for a point that the journal has not reached.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@click.option(
    "--plan-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="With --dry-run, one Kubernetes source and --to kubeconfig: write the plan to this JSON file.",
)
@click.option(
    "--plan",
    "plan_name",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Carry out exactly this plan in the cluster of --to, instead of --at and all choices; refused if the target or the archive is not "
    "as it was made for.",
)
@click.option("--overwrite", is_flag=True, help="Replace what the target holds already of what the plan creates. The plan lists it.")
@click.option(
    "--mode",
    type=click.Choice(["create-missing", "merge", "exact"]),
    default="create-missing",
    show_default=True,
    help="Kubernetes: what the target holds already stays, has what was captured laid over it, or becomes it (as --overwrite).",
)
@click.option(
    "--delete",
    "delete",
    type=click.IntRange(min=0),
    metavar="N",
    help="With --mode exact and a named kind, namespace, object or selector: also delete what lives there and was not there at the point, N"
    " objects at most. With --dry-run, 0 lists them. Refused where what was there is not certain.",
)
@click.option("--delete-managed", is_flag=True, help="With --delete: also objects that Argo CD or Helm manages.")
@click.option("--allow-gaps", is_flag=True, help="Restore although part of the history in use is not known. The plan lists it.")
@click.option("--no-owner", is_flag=True, help="PostgreSQL: leave out ownership and grants; needed where the roles are missing.")
@click.option(
    "--allow-controllers", is_flag=True, help="Kubernetes: objects with a status may be restored beside living controllers (leases)."
)
@click.option("--into-source", is_flag=True, help="The captured cluster, or with --into-schema the captured database, may be the target.")
@click.option(
    "--no-undo",
    is_flag=True,
    help="Kubernetes: no mark before writing into the captured cluster. Without it a restore that replaces or"
    " deletes is refused where no mark can be put.",
)
@click.option(
    "--hold-lease",
    "leases",
    multiple=True,
    metavar="NAMESPACE/NAME",
    help="Kubernetes: pause the controllers that elect by it.",
)
@click.option(
    "--uid-map", type=click.Path(path_type=Path, dir_okay=False), help="Kubernetes: write captured UID -> new UID to this JSON file."
)
@click.option(
    "--strict",
    is_flag=True,
    help="PostgreSQL: all or nothing. Kubernetes: refused when the target holds any of the objects; else those stay as they are.",
)
@click.option(
    "--left-out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    metavar="FOLDER",
    help="PostgreSQL: where to write what the target did not take, as SQL; default: the working folder.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="PostgreSQL: load an empty database over N connections, in separate transactions; a failure leaves what it has done.",
)
@click.option("--pg-bin", default="", metavar="FOLDER", help="Into a folder: where pg_restore is; default: the newest that is found.")
@click.option("--show-all", is_flag=True, help="Every object and table of a plan, where a terminal is shown the first 100.")
@click.option("--json", "as_json", is_flag=True, help="JSON for scripts: the plan with --dry-run, else the report.")
@click.pass_obj
def restore(
    context: Context,
    *,
    at: str,
    targets: tuple[str, ...],
    sources: tuple[str, ...],
    kinds: tuple[str, ...],
    namespaces: tuple[str, ...],
    objects: tuple[str, ...],
    labels: str,
    moves: tuple[str, ...],
    tables: tuple[str, ...],
    schemas: tuple[str, ...],
    rows: tuple[str, ...],
    into_schema: str,
    merge_script: Path | None,
    wait: float,
    dry_run: bool,
    plan_file: Path | None,
    plan_name: Path | None,
    overwrite: bool,
    mode: Mode,
    delete: int | None,
    delete_managed: bool,
    allow_gaps: bool,
    no_owner: bool,
    into_source: bool,
    allow_controllers: bool,
    no_undo: bool,
    leases: tuple[str, ...],
    uid_map: Path | None,
    strict: bool,
    left_out: Path,
    jobs: int,
    pg_bin: str,
    show_all: bool,
    as_json: bool,
) -> None:
    """Bring sources back as they were at one point, into a fresh database, an API server, or a folder.

    \b
    archiver restore --at 2026-11-23T10:05:00Z --to postgresql:///new --dry-run
    archiver restore --at latest --to db=postgresql:///new --to crs=kubeconfig:k8s
    archiver restore --at latest --to ./out
    archiver restore --at latest --table public.orders --into-schema restored \\
        --to postgresql:///live --into-source
    archiver restore --at latest --table public.orders --rows id=5 \\
        --merge-script merge.sql --to postgresql:///live

    Without --to only the plan is made. A restore never writes into its own source, nor over what a target holds unless told to; into a
    database it is one transaction, so a failure leaves the target as it was. Exit code 3 when something was refused, and nothing was
    touched; 8 when a target did not take everything: the report names the rest, and of a database a file has it as SQL. --strict rolls
    a database back instead. A dry run with a target exits as the restore would; an API server is asked about each object.
    """
    with loading():
        from archiver.replay.excerpt import Excerpt
        from archiver.replay.kubernetes.label_selector import LabelSelector
        from archiver.replay.kubernetes.namespace_moves import parse_moves
        from archiver.replay.kubernetes.object_names import parse_object
        from archiver.replay.kubernetes.selection import RestoreScope
        from archiver.replay.restoration import Options

    planned = read_plan(plan_name, targets) if plan_name is not None else None
    if not at and planned is None:
        raise click.MissingParameter(param_hint="'--at'", param_type="option")
    if plan_file is not None and not dry_run:
        raise Invalid("--plan-file writes what a dry run finds", hint="add --dry-run, look at the file, then: restore --plan FILE")
    if planned is None:
        say_meaning(at)
    settings = context.settings()
    scope = RestoreScope(
        frozenset(kinds),
        frozenset(namespaces),
        frozenset(map(parse_object, objects)),
        LabelSelector.parse(labels),
        parse_moves(moves, frozenset(namespaces)),
    )
    excerpt = Excerpt.parse(tables, schemas, rows, into_schema, merge_script)
    said = _said(excerpt, mode, jobs)
    if uid_map is not None and not os.access(uid_map if uid_map.exists() else uid_map.parent, os.W_OK):
        raise Invalid(f"--uid-map {uid_map}: it cannot be written there", hint="name a file in a folder that exists and may be written to")
    options = Options(
        overwrite=overwrite,
        mode=mode,
        delete=delete,
        delete_managed=delete_managed,
        allow_gaps=allow_gaps,
        no_owner=no_owner,
        into_source=into_source,
        allow_controllers=allow_controllers,
        ask_target=dry_run,
        scope=scope,
        pg_bin=pg_bin,
        leases=leases,
        strict=strict,
        left_out=left_out,
        jobs=jobs,
        said=said,
        excerpt=excerpt,
    )
    if planned is not None:
        at, sources, options = planned.at, (planned.source,), as_planned(options, planned)
    require_deletable(options)
    written = {
        "--plan-file": plan_file,
        "--uid-map": uid_map,
        "--left-out": left_out if left_out != Path() else None,
        "--merge-script": merge_script,
    }
    done = wait_for(
        lambda: _restore(
            settings,
            at,
            targets,
            sources,
            options,
            wait=wait,
            dry_run=dry_run or not targets,
            show_all=output.is_whole(show_all=show_all),
            as_json=as_json,
            written=written,
            undo=not no_undo,
        )
    )
    if uid_map is not None and done:
        _write_uids(uid_map, done)
    judge(done, options)


_ABOUT: dict[str, Place] = {
    "--kind": "cluster",
    "--namespace": "cluster",
    "--object": "cluster",
    "--selector": "cluster",
    "--into-namespace": "cluster",
    "--mode": "into a cluster",
    "--delete": "into a cluster",
    "--delete-managed": "into a cluster",
    "--allow-controllers": "into a cluster",
    "--into-source": "into a cluster",
    "--no-undo": "into a cluster",
    "--hold-lease": "into a cluster",
    "--uid-map": "into a cluster",
    "--plan-file": "into a cluster",
    "--no-owner": "database",
    "--left-out": "into a database",
    "--jobs": "into a database",
    "--strict": "into either",
    "--pg-bin": "database into a folder",
}
"""What each option is about that is not about every restore."""


def _said(excerpt: Excerpt | None, mode: Mode, jobs: int) -> dict[str, Place]:
    """The options that were given and must have a use. ``Invalid`` for those that have none beside others, and would be believed."""
    given = set(given_options().values()) - ({"--jobs"} if jobs == 1 else set())
    if excerpt is not None:
        fits = {"--into-source"} if excerpt.into_schema else set()
        for option in ("--overwrite", *(option for option in _ABOUT if option not in fits)):
            if option in given:
                raise Invalid(
                    f"{option} does not go with {'--merge-script' if excerpt.merge_script else '--table and --schema'}",
                    hint="tables come back as one transaction, in a new schema that belongs to whoever restores; a merge script only reads",
                )
        return {}
    if {"--overwrite", "--mode"} <= given and mode != "exact":
        raise Invalid(f"--overwrite means --mode exact, and --mode {mode} is given", hint="leave one of them out")
    said = {option: place for option, place in _ABOUT.items() if option in given}
    if "--strict" in said and ("--overwrite" in given or mode != "create-missing"):
        # Of a cluster that is replaced or merged into, nothing is refused.
        said["--strict"] = "into a database"
    return said


def judge(done: list[RestoredSource], options: Options, *, again: str = "") -> None:
    """Raise when not everything came back, with the way to the rest; ``again``: what that is, where it is no restore."""
    from archiver.replay.postgres.restore import RestoreReport

    files = [each.report.left_out_file for each in done if isinstance(each.report, RestoreReport) and each.report.left_out_file]
    problems = [f"{each.source}: {problem}" for each in done for problem in each.problems if not isinstance(each.report, RestoreReport)]
    left_out = [f"{each.source}: {problem}" for each in done for problem in each.problems if isinstance(each.report, RestoreReport)]
    if left_out and not problems:
        raise Partial(
            f"all else is restored; {len(left_out)} items of the database are left out or weaker than they were, first {left_out[0]}",
            hint=f"{', '.join(files)} has them as SQL with the reasons; see {page('howto/restore-postgres.md')}",
        )
    problems += left_out
    if problems:
        raise Partial(
            f"{len(problems)} objects are not as captured, first {problems[0]}",
            hint=f"the report lists them (--json): mend what the target says, then {again or _again(options)}",
        )


def _again(options: Options) -> str:
    """What brings back objects that were written in part, too: the default mode would leave them so, and call that done."""
    if options.planned is not None:
        return "make a new plan with --mode exact: what was written is not what this one was made for"
    if options.mode == "create-missing" and not options.overwrite:
        return "restore these (--object) with --mode exact: without it, what is there by now stays as it is"
    return "run the same command again"


def _write_uids(file: Path, done: list[RestoredSource]) -> None:
    from archiver.replay.kubernetes.restore import ClusterReport

    uids = {old: new for each in done if isinstance(each.report, ClusterReport) for old, new in each.report.uids.items()}
    try:
        file.write_bytes(msgspec.json.format(msgspec.json.encode(uids), indent=2) + b"\n")
    except OSError as error:
        raise Unavailable(
            f"everything is restored, but {file} cannot be written: {error.strerror}", hint="--json prints the same map in its report"
        ) from None


async def _restore(
    settings: Settings,
    at: str,
    targets: tuple[str, ...],
    sources: tuple[str, ...],
    options: Options,
    *,
    wait: float,
    dry_run: bool,
    show_all: bool,
    as_json: bool,
    written: Mapping[str, Path | None],
    undo: bool,
) -> list[RestoredSource]:
    with loading():
        from archiver.cli.progress import steps
        from archiver.cli.restore_plans import print_plans
        from archiver.clock import SystemClock
        from archiver.journal.kept_segments import KeptSegments
        from archiver.journal.reader import Reader
        from archiver.replay.targets import names_database
        from archiver.restore import carry_out, close_plans, make_plans_once_reached, require_apart, summary
        from archiver.service.sources import configured_databases
        from archiver.service.undo_marks import UndoMarks
        from archiver.store.open import open_store

    clock = SystemClock()
    if any(map(names_database, targets)):
        options = msgspec.structs.replace(options, configured=await configured_databases(settings))
    store = await open_store(settings.archive.url, settings.archive.s3)
    kept = KeptSegments()
    try:
        for option, path in written.items():
            if path is not None:
                require_apart(path, store.url, option)
        reader = Reader(store, kept=kept)
        if undo:
            options = msgspec.structs.replace(options, before=UndoMarks(settings, reader, clock, "restore", output.say).before)
        plans = await make_plans_once_reached(reader, at, targets, sources, options, clock, wait_seconds=wait)
        try:
            if dry_run:
                write_plan(plans, written["--plan-file"])
                output.print_json(plans.shown()) if as_json else print_plans(plans, show_all=show_all)
                if targets:
                    foresee(plans, options)
                return []
            say_without_undo(plans)
            done = await carry_out(plans, options, steps)
        finally:
            await close_plans(plans)
    finally:
        kept.close()
        await store.close()
    if as_json:
        output.print_json({"at": at, "point": plans.where(), "apart_seconds": plans.apart_seconds, "sources": done})
    else:
        output.facts(list(summary(plans).items()))
        for each in done:
            print_done(each)
    return done


def foresee(plans: Plans, options: Options) -> None:
    """Raise what carrying the plans out would raise, as far as it is known."""
    from archiver.replay.kubernetes.restore import ClusterRestoration
    from archiver.restore import permitted

    permitted(plans, options)
    found = [f"{each.source}: {text}" for each in plans.sources if isinstance(each, ClusterRestoration) for text in each.plan.would_fail]
    undone = [f"{each.source}: {text}" for each in plans.sources if isinstance(each, ClusterRestoration) for text in each.plan.undone]
    if undone and not found:
        raise Partial(f"{len(undone)} objects would not be undone, first {undone[0]}", hint="the plan lists all of them (--json)")
    if found:
        raise Partial(f"the target would not take {len(found)} of it, first {found[0]}", hint="the plan lists all of them (--json)")
