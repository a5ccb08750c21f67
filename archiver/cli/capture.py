"""``archiver run`` and ``archiver check``: what touches the sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from archiver.cli import output
from archiver.cli.main import Context, wait_for
from archiver.errors import Invalid
from archiver.pages import page

if TYPE_CHECKING:
    from archiver.settings import Settings


@click.command()
@click.pass_obj
def run(context: Context) -> None:
    """Capture all sources of the settings until SIGTERM or Ctrl-C; a second signal stops at once."""
    settings = context.settings()
    if not settings.sources:
        raise Invalid("no sources to capture", hint=f"add one below `sources:` in the settings; {page('tutorial.md')} starts with one")
    wait_for(lambda: _run(settings))


async def _run(settings: Settings) -> None:
    import asyncio
    import signal

    import structlog

    from archiver.clock import HeldClock, SystemClock
    from archiver.service.service import Service
    from archiver.service.sources import build_sources
    from archiver.service.web import Web

    log = structlog.get_logger()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    service = Service(settings, HeldClock(SystemClock()), build_sources)
    work = asyncio.create_task(service.run(stop))

    def asked(number: signal.Signals) -> None:
        if stop.is_set():
            log.warning("stopping_at_once", signal=number.name)
            work.cancel()
        else:
            log.info("stop_asked", signal=number.name)
            stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked, number)
    web = Web(service, settings.web.listen, settings.web.rpo_seconds) if settings.web.listen else None
    try:
        if web is not None:
            await web.start()
        await work
    except asyncio.CancelledError:
        raise click.exceptions.Exit(130) from None
    finally:
        work.cancel()
        if web is not None:
            await web.stop()


@click.command()
@click.option("--json", "as_json", is_flag=True, help="JSON for scripts.")
@click.pass_obj
def check(context: Context, *, as_json: bool) -> int:
    """Check store, rights and tables of every source, and change nothing. Exit code 3 when something would be refused.

    To test the store a few objects are written there, and deleted again.
    """
    from archiver.checks import check_all
    from archiver.clock import SystemClock

    settings = context.settings()
    findings = wait_for(lambda: check_all(settings, SystemClock()))
    if as_json:
        output.print_json(findings)
    else:
        output.table(
            "",
            ["", "source", "what", "finding", "remedy"],
            [
                (
                    {"ok": "ok", "note": "note", "warning": "warn", "refused": "NO"}[item.level],
                    item.source,
                    item.subject,
                    item.text,
                    item.remedy,
                )
                for item in findings
            ],
        )
        for item in findings:
            if item.apply:
                output.heading(item.source, ": the least rights")
                output.document(item.apply)
    return 3 if any(item.level == "refused" for item in findings) else 0
