"""``kubectl archiver COMMAND``: a command of the archiver, in the Pod that captures, where its archive and its settings are.

No Secret is read, and no credential leaves the cluster: who may list Deployments and Pods of the namespace and run programs in them may do
this. What needs more memory than that Pod has beside the capture is refused.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import NamedTuple

import click

from archiver.cli import output, streams
from archiver.cli.main import COMMANDS, cli, run
from archiver.errors import Invalid, Refused, Unavailable
from archiver.pages import page
from archiver.suggestions import meant

ALLOWED = ("status", "window", "log", "show", "diff", "check", "verify", "mark", "hold", "restore")
"""What reads the archive within bounded memory, or writes a small object into it."""
_CHART = "helm.sh/chart"
_RELEASE = "app.kubernetes.io/instance"
_COLUMNS = r'{.metadata.name}{" "}{.metadata.labels.app\.kubernetes\.io/instance}{" "}{.metadata.labels.helm\.sh/chart}{"\n"}'


class Release(NamedTuple):
    """An installed chart."""

    name: str
    deployment: str


@click.command(
    context_settings={"help_option_names": ["-h", "--help"], "allow_interspersed_args": False, "max_content_width": 110},
    epilog=f"The commands: {', '.join(ALLOWED)} (restore with --dry-run only).",
)
@click.option("-n", "--namespace", default="", metavar="NAME", help="Where the archiver is installed; default: the context's namespace.")
@click.option("--release", default="", metavar="NAME", help="The chart's release, where the namespace has several.")
@click.option("--context", "cluster", default="", metavar="NAME", help="Context of the kubeconfig file.")
@click.option("--kubeconfig", default="", metavar="FILE", help="Another kubeconfig file.")
@click.option("--as", "user", default="", metavar="USER", help="Impersonate this user.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="COMMAND [OPTIONS]…")
@click.pass_context
def plugin(
    context: click.Context, *, namespace: str, release: str, cluster: str, kubeconfig: str, user: str, words: tuple[str, ...]
) -> None:
    """Run a command of the archiver in the Pod that captures, with its settings.

    \b
    kubectl archiver status
    kubectl archiver -n agents log --from "10 minutes ago"
    kubectl archiver restore --at "1 hour ago" --dry-run

    Options of kubectl stand before the command, those of the archiver behind it. The answer and the exit code are the command's.
    """
    if not words:
        output.document(f"{context.get_help()}\n")
        return
    _require_allowed(words)
    if words[0] == "restore":
        # The Pod's version may know other options, and take for the value of one what is an option here.
        words = ("restore", "--dry-run", *words[1:])
    given = {"--namespace": namespace, "--context": cluster, "--kubeconfig": kubeconfig, "--as": user}
    kubectl = ["kubectl", *(f"{option}={value}" for option, value in given.items() if value)]
    found = chosen(_releases(kubectl), release)
    terminal = ["-it"] if sys.stdin.isatty() and output.terminal_width() else []
    streams.flush()
    command = [*kubectl, "exec", *terminal, f"deployment/{found.deployment}", "-c", "archiver", "--", "archiver", *words]
    os.execvp("kubectl", command)  # noqa: S606 -- no shell, and no name from elsewhere


def _require_allowed(words: tuple[str, ...]) -> None:
    name = words[0]
    if name not in COMMANDS:
        raise Invalid(f"there is no command {name!r}", hint=f"{meant(name, ALLOWED)}the commands are {', '.join(ALLOWED)}")
    if name == "run":
        raise Refused(
            "the Pod captures already, and a second `archiver run` would take the archive from it", hint="see `kubectl archiver status`"
        )
    if name not in ALLOWED or (name == "restore" and not _only_asks(words)):
        raise Refused(
            f"`archiver {name}` takes memory or disk that the Pod which captures does not have, or changes more than an answer should",
            hint=f"run it elsewhere with the archive's settings, or let the chart's jobs do it: {page('howto/kubectl.md')}",
        )


def _only_asks(words: tuple[str, ...]) -> bool:
    """Whether a restore is asked for its plan or its help: what looks like that may be the value of an option before it."""
    command = cli.get_command(click.Context(cli), words[0])
    assert command is not None
    context = click.Context(command, info_name=words[0], help_option_names=["-h", "--help"])
    _, _, given = command.make_parser(context).parse_args(list(words[1:]))
    return any({"--dry-run", "--help"} & {*option.opts} for option in given)


def _releases(kubectl: list[str]) -> list[Release]:
    """The chart's releases in the namespace. ``Unavailable`` without kubectl, ``Refused`` when it may not look."""
    command = [
        *kubectl,
        "get",
        "deployments",
        "--selector",
        f"{_CHART},{_RELEASE}",
        "--output",
        f"jsonpath={{range .items[*]}}{_COLUMNS}{{end}}",
    ]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    except FileNotFoundError:
        raise Unavailable("there is no kubectl on PATH", hint="this runs as its plugin, `kubectl archiver`") from None
    if done.returncode:
        raise Refused("kubectl could not list the Deployments there", hint=f"what it needs: {page('howto/kubectl.md')}")
    lines = [line.split() for line in done.stdout.splitlines()]
    return [Release(line[1], line[0]) for line in lines if len(line) == 3 and line[2].startswith("archiver-")]


def chosen(releases: list[Release], wanted: str) -> Release:
    """The release ``wanted``, or the only one. ``Invalid`` when there is none, or several."""
    names = sorted(each.name for each in releases)
    if not releases:
        raise Invalid("no release of the archiver's chart is in that namespace", hint="name another one with -n, or another --context")
    if wanted and wanted not in names:
        raise Invalid(f"there is no release {wanted!r} in that namespace", hint=f"{meant(wanted, names)}there are: {', '.join(names)}")
    if not wanted and len(releases) > 1:
        raise Invalid(
            f"{len(releases)} releases of the archiver's chart are in that namespace", hint=f"name one with --release: {', '.join(names)}"
        )
    return next(each for each in releases if wanted in ("", each.name))


def main() -> None:
    """Run the plugin and end the process with a documented code (docs/reference/errors.md), or with that of the command in the Pod."""
    streams.install()
    os._exit(run(plugin, "kubectl archiver"))


if __name__ == "__main__":
    main()
