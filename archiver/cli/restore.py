"""``archiver restore``: a plan first; what runs is that plan."""

from __future__ import annotations

from pathlib import Path

import click

from archiver.cli import output
from archiver.cli.main import Context, wait_for


@click.command()
@click.option("--at", "at", required=True, metavar="POINT", help="RFC 3339 time, `latest`, an entry number, or an LSN (with one database).")
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
@click.option("--kind", "only_kinds", multiple=True, metavar="PLURAL[.GROUP]", help="Kubernetes: only these kinds (repeatable).")
@click.option("--namespace", "namespaces", multiple=True, metavar="NAME", help="Kubernetes: only these namespaces (repeatable).")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@click.option("--overwrite", is_flag=True, help="Replace what the target holds already of what the plan creates. The plan lists it.")
@click.option("--allow-gaps", is_flag=True, help="Restore although part of the history in use is not known. The plan lists it.")
@click.option("--no-owner", is_flag=True, help="PostgreSQL: leave out ownership and grants; needed where the roles are missing.")
@click.option("--json", "as_json", is_flag=True, help="JSON for scripts: the plan with --dry-run, else the report.")
@click.pass_obj
def restore(
    context: Context,
    *,
    at: str,
    targets: tuple[str, ...],
    sources: tuple[str, ...],
    only_kinds: tuple[str, ...],
    namespaces: tuple[str, ...],
    dry_run: bool,
    overwrite: bool,
    allow_gaps: bool,
    no_owner: bool,
    as_json: bool,
) -> None:
    """Bring sources back as they were at one point, into a fresh database, an API server, or a folder.

    \b
    archiver restore --at 2026-11-23T10:05:00Z --to postgresql://localhost/fresh --dry-run
    archiver restore --at latest --to agents-db=postgresql://localhost/fresh --to agents=kubeconfig:~/.kube/scratch
    archiver restore --at latest --to ./out

    Without --to only the plan is made. A restore never writes into its own source, nor over what a target holds unless told to; into a
    database it is one transaction, so a failure leaves the target as it was.
    """
    from archiver.restoring import Choice, Wish, carry_out, make_plans

    settings = context.settings()
    wish = Wish(
        at=at,
        targets=list(targets),
        sources=list(sources),
        kinds=list(only_kinds),
        namespaces=list(namespaces),
        choice=Choice(overwrite=overwrite, allow_gaps=allow_gaps, no_owner=no_owner),
    )
    raise NotImplementedError
