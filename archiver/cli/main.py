"""``archiver``: the group of commands, the options they share, and how an error ends the process."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from archiver import __version__
from archiver.cli import output, streams
from archiver.cli.settings_places import PLACES, find
from archiver.errors import ArchiverError, Bug, Invalid

if TYPE_CHECKING:
    from archiver.cli.settings_places import SettingsFile
    from archiver.settings import Settings

Result = TypeVar("Result")


class Context(msgspec.Struct):
    """What the options say that every command has, and where the settings came from."""

    config: Path | None = None
    archive: str = ""
    log_level: str = ""
    file: SettingsFile | None = None
    """Once it was looked for."""

    def settings(self) -> Settings:
        """Load the settings and start logging as they say."""
        from archiver import logs
        from archiver.settings import load

        self.file = find(self.config, os.environ, Path())
        settings = load(self.file.path, os.environ)
        if self.archive:
            settings = msgspec.structs.replace(settings, archive=msgspec.structs.replace(settings.archive, url=self.archive))
        if self.log_level:
            settings = msgspec.structs.replace(settings, log=msgspec.structs.replace(settings.log, level=self.log_level))
        logs.configure(settings.log.level, settings.log.format)
        return settings


class Command(msgspec.Struct, frozen=True):
    """A command before it is loaded."""

    place: str
    """Module and name in it, below ``archiver.cli``."""
    summary: str


COMMANDS = {
    "init": Command("init:init", "Write a settings file, after asking what there is."),
    "run": Command("capture:run", "Capture all sources of the settings until it is stopped."),
    "check": Command("capture:check", "Check store, rights and tables of every source; change nothing."),
    "status": Command("status:status", "Show how far each source is durable, and what is wrong with it."),
    "verify": Command("verify:verify", "Read the journal and prove it: contiguous, unaltered, chained."),
    "window": Command("window:window", "Show from when to when every point can be restored, and the gaps."),
    "mark": Command("mark:mark", "Name the journal's end, to come back to it."),
    "maintain": Command("maintain:maintain", "Fold the journal into newer checkpoints, or into history files."),
    "undo": Command("undo:undo", "Take a restore into the captured cluster back."),
    "retain": Command("retain:retain", "Delete what no promised point needs, as the settings ask."),
    "hold": Command("hold:hold", "Stop all deletion."),
    "restore": Command("restore:restore", "Bring sources back as they were at one point."),
    "drill": Command("drill:drill", "Restore for practice, compare, and time it."),
    "log": Command("history:log", "List what changed between two points, or of one row or object."),
    "show": Command("states:show", "Print one row or object as it was at a point."),
    "diff": Command("states:diff", "Compare one row or object between two points."),
    "sql": Command("sql:sql", "Ask about rows and objects as of a point, in SQL."),
    "web": Command("web:web", "Serve the timeline page: what changed when, and the way back."),
    "detach": Command("detach:detach", "Take away everything that the archiver made at a source."),
    "config": Command("configuration:config", "Look at settings."),
}
"""Loaded when they are named, because drivers take a second to load. A summary stands here, so that help loads none."""


class Commands(click.Group):
    """The group whose commands are modules of this folder."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """In the order of the flow."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load one command; ``None`` when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].place.partition(":")
        command: click.Command = getattr(importlib.import_module(f"archiver.cli.{module}"), name)
        _share_options(command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Say which command a misspelt one may be."""
        from archiver.suggestions import meant

        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"there is no command {args[0]!r}: {meant(args[0], COMMANDS)}the commands are {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """From the summaries."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.summary) for name, command in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """From the summaries."""
        from click.shell_completion import CompletionItem

        names = [CompletionItem(name, help=each.summary) for name, each in COMMANDS.items() if name.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]


def _keep(context: click.Context, option: click.Parameter, value: Any) -> None:
    """What stands nearer to the end of the command line wins."""
    if value and isinstance(context.obj, Context):
        setattr(context.obj, option.name or "", value)


def _shared() -> list[click.Option]:
    """Options that every command has, before its name and behind it."""
    return [
        click.Option(
            ["-c", "--config"],
            type=click.Path(path_type=Path),
            expose_value=False,
            callback=_keep,
            help=f"Settings file (YAML). Default: the first of {', '.join(PLACES)}.",
        ),
        click.Option(
            ["--archive"],
            metavar="URL",
            expose_value=False,
            callback=_keep,
            help="Where the journal is, instead of the settings' archive.url: file:///path or s3://bucket/prefix.",
        ),
        click.Option(
            ["--log-level"],
            type=click.Choice(["debug", "info", "warning", "error"]),
            expose_value=False,
            callback=_keep,
            help="Instead of the settings' log.level.",
        ),
    ]


def _share_options(command: click.Command) -> None:
    if not any(option.callback is _keep for option in command.params):
        command.params += _shared()
        for inner in command.commands.values() if isinstance(command, click.Group) else ():
            _share_options(inner)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, params=_shared())
@click.version_option(__version__, prog_name="archiver")
@click.pass_context
def cli(context: click.Context) -> None:
    """Record every change of PostgreSQL databases and Kubernetes custom resources, and bring any moment back.

    \b
    begin     init              a settings file, from what is there
    capture   run, check        continuous, into one append-only journal
    journal   status, verify    is it whole, how far behind, what is missing
              window            from when to when every point can be restored
              mark              a name for a point
              maintain          keep it quick as it grows
              retain, hold      delete what is promised no longer; stop that
    replay    restore, drill    a state at a point in time, into a target
    sources   detach            away with what capture made there
    history   log, sql          what changed between points; a question about one
              show, diff        what one row or object looked like, and when
              web               all that as a page

    The options below may stand before the command or behind it.
    """
    context.ensure_object(Context)


def run(command: click.Command = cli, name: str = "archiver") -> int:
    """Parse ``sys.argv``, run ``command``, and return the exit code (docs/reference/errors.md) once everything is written."""
    context = Context()
    code = _run(command, name, context)
    try:
        streams.flush()
    except ArchiverError as error:
        _show(error, context)
        return code or error.exit_code
    return code


def _run(command: click.Command, name: str, context: Context) -> int:
    try:
        result = command.main(standalone_mode=False, prog_name=name, obj=context)
    except click.exceptions.Abort:
        output.say("interrupted")
        return 130
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return Invalid.exit_code
    except ArchiverError as error:
        _show(error, context)
        return error.exit_code
    except KeyboardInterrupt:
        output.say("interrupted")
        return 130
    except OSError as error:
        from archiver import disk

        # A write that fails anywhere: full disks and their like are no bug.
        if not disk.full_or_broken(error):
            return _bug()
        failed = disk.explained(error, "write")
        _show(failed, context)
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


def _show(error: ArchiverError, context: Context) -> None:
    output.say(f"error: {error.message}", style="red")
    if error.hint:
        output.say(f"hint: {error.hint}")
    if context.file is not None and context.file.said:
        output.say(f"settings: {context.file.said}")
