"""``archiver``: the group of commands, the options they share, and how an error ends the process."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from archiver import __version__, disk
from archiver.cli import output, streams
from archiver.errors import ArchiverError, Bug, Invalid
from archiver.settings import Settings, load

Result = TypeVar("Result")


class Context(msgspec.Struct):
    """What the options before the command say."""

    config: Path | None = None
    archive: str = ""
    log_level: str = ""

    def settings(self) -> Settings:
        """Load the settings and start logging as they say."""
        from archiver import logs

        settings = load(self.config, os.environ)
        if self.archive:
            settings = msgspec.structs.replace(settings, archive=msgspec.structs.replace(settings.archive, url=self.archive))
        if self.log_level:
            settings = msgspec.structs.replace(settings, log=msgspec.structs.replace(settings.log, level=self.log_level))
        logs.configure(settings.log.level, settings.log.format)
        return settings


COMMANDS = {
    "run": "capture:run",
    "check": "capture:check",
    "status": "journal:status",
    "verify": "journal:verify",
    "window": "window:window",
    "mark": "mark:mark",
    "maintain": "maintain:maintain",
    "restore": "restore:restore",
    "drill": "drill:drill",
    "log": "history:log",
    "show": "history:show",
    "diff": "history:diff",
    "config": "configuration:config",
}
"""Command -> where it is, below ``archiver.cli``: loaded when it is named, because drivers take a second to load."""


class Commands(click.Group):
    """The group whose commands are modules of this folder."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """In the order of the flow."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load one command; ``None`` when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"archiver.cli.{module}"), name)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "-c", "--config", type=click.Path(path_type=Path), envvar="ARCHIVER_CONFIG", help="Settings file (YAML). [env: ARCHIVER_CONFIG]"
)
@click.option(
    "--archive",
    default="",
    metavar="URL",
    help="Where the journal is, instead of the settings' archive.url: file:///path or s3://bucket/prefix.",
)
@click.option(
    "--log-level", default=None, type=click.Choice(["debug", "info", "warning", "error"]), help="Instead of the settings' log.level."
)
@click.version_option(__version__, prog_name="archiver")
@click.pass_context
def cli(context: click.Context, config: Path | None, archive: str, log_level: str | None) -> None:
    """Record every change of PostgreSQL databases and Kubernetes custom resources, and bring any moment back.

    \b
    capture   run, check          continuous, into one append-only journal
    journal   status, verify      is it whole, how far behind, what is missing
              window              from when to when every point can be restored
              mark                a name for a point
              maintain            keep it quick as it grows
    replay    restore, drill      a state at a point in time, into a target
    history   log, show, diff     what one row or object looked like, and when
    """
    context.obj = Context(config, archive, log_level or "")


def run() -> int:
    """Parse ``sys.argv``, run the command, and return the exit code (docs/reference/errors.md) once everything is written."""
    code = _run()
    try:
        streams.flush()
    except ArchiverError as error:
        _show(error)
        return code or error.exit_code
    return code


def _run() -> int:
    try:
        result = cli.main(standalone_mode=False, prog_name="archiver")
    except click.exceptions.Abort:
        output.say("interrupted")
        return 130
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return Invalid.exit_code
    except ArchiverError as error:
        _show(error)
        return error.exit_code
    except KeyboardInterrupt:
        output.say("interrupted")
        return 130
    except OSError as error:
        # A write that fails anywhere: full disks and their like are no bug.
        if not disk.full_or_broken(error):
            return _bug()
        failed = disk.explained(error, "write")
        _show(failed)
        return failed.exit_code
    except Exception:  # noqa: BLE001 -- what nobody foresaw is shown whole, and has an exit code too
        return _bug()
    return result if isinstance(result, int) else 0


def _bug() -> int:
    from archiver import logs

    output.trace(logs.traced(sys.exc_info()[1]))
    output.say("this is a bug in archiver: report it with the lines above")
    return Bug.exit_code


def wait_for(work: Callable[[], Awaitable[Result]]) -> Result:
    """Run one coroutine to its end; the only ``ArchiverError`` of an exception group is raised by itself."""
    import asyncio

    async def call() -> Result:
        return await work()

    try:
        return asyncio.run(call())
    except BaseExceptionGroup as group:
        known = group.subgroup(ArchiverError)
        while isinstance(known, BaseExceptionGroup):
            known = known.exceptions[0]  # type: ignore[assignment]
        if isinstance(known, ArchiverError):
            raise known from None
        raise


def _show(error: ArchiverError) -> None:
    output.say(f"error: {error.message}", style="red")
    if error.hint:
        output.say(f"hint: {error.hint}")
