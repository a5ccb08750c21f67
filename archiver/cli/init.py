"""``archiver init``: a settings file to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from archiver.cli import output
from archiver.cli.main import Context, wait_for
from archiver.cli.settings_places import HERE
from archiver.errors import Invalid, Refused, Unavailable

if TYPE_CHECKING:
    from archiver.settings.draft import SourceDraft


@click.command()
@click.option(
    "--postgres", "databases", multiple=True, metavar="DSN", help="A database to ask: libpq's keywords or a URI, or env:NAME, file:PATH."
)
@click.option(
    "--kubernetes",
    "clusters",
    multiple=True,
    is_flag=False,
    flag_value="",
    metavar="[PATH[#CONTEXT]]",
    help="A cluster to ask: a kubeconfig; without one in-cluster configuration, else the usual kubeconfig.",
)
@click.option("--namespace", "namespaces", multiple=True, metavar="NAME", help="Kubernetes: only these namespaces (repeatable).")
@click.option("--print", "only_print", is_flag=True, help="Print it, and write no file.")
@click.pass_obj
def init(context: Context, *, databases: tuple[str, ...], clusters: tuple[str, ...], namespaces: tuple[str, ...], only_print: bool) -> None:
    """Write a commented settings file, after asking databases and clusters what they have.

    \b
    archiver init --postgres postgresql://capture@db/shop --kubernetes \\
        --archive s3://bucket/shop

    The file is ./archiver.yaml, or what -c names, and is never written over. No secret stands in it: a password becomes the name of a
    variable. Nothing is changed at the sources; what capture would be refused there stands in comments.
    """
    if not databases and not clusters:
        raise Invalid("there is nobody to ask", hint="give --postgres DSN, or --kubernetes, or both")
    file = context.config or Path(HERE)
    if not only_print and file.exists():
        raise _there(file)
    # The file may be read from another folder.
    clusters = tuple(str(Path(each).absolute()) if each and not each.startswith("#") else each for each in clusters)
    text = wait_for(lambda: _draft(databases, clusters, list(namespaces), context.archive or "file:///var/lib/archiver"))
    if only_print:
        output.document(text)
        return
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        raise _there(file) from None
    except OSError as error:
        raise Unavailable(f"{file} cannot be written: {error.strerror}", hint="name another place with -c, or --print") from None
    output.answer(f"{file} is written; next: archiver check{'' if context.config is None else f' -c {file}'}")


def _there(file: Path) -> Refused:
    return Refused(f"{file} is there already, and is not written over", hint="name another file with -c, or --print")


async def _draft(databases: tuple[str, ...], clusters: tuple[str, ...], namespaces: list[str], url: str) -> str:
    from archiver.clock import SystemClock
    from archiver.service.initial_kubernetes import ask_cluster
    from archiver.service.initial_postgres import ask_database
    from archiver.settings.draft import draft
    from archiver.store.open import place

    # A secret in it is refused, as it would be in the settings.
    place(url)
    sources: list[SourceDraft] = [await ask_database(dsn) for dsn in databases]
    for each in clusters:
        path, _, name = each.partition("#")
        sources.append(await ask_cluster(SystemClock(), path, name, namespaces))
    return draft(url, sources)
