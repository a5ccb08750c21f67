"""``archiver web``: the timeline page of an archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from archiver.cli import output, streams
from archiver.cli.main import Context, wait_for

if TYPE_CHECKING:
    from archiver.settings import Settings

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Listen on this address.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, metavar="PORT", help="On this port; 0: a free one.")
@click.option(
    "--name", "names", multiple=True, metavar="HOST", help="The page is asked for under this name too (repeatable): a proxy's, a forward's."
)
@click.pass_obj
def web(context: Context, *, host: str, port: int, names: tuple[str, ...]) -> None:
    """Serve the timeline page: what changed when, one row's or object's life, and the command that brings it back.

    \b
    archiver web                       prints the address, with its token
    archiver web --port 8090           for a forwarded port

    The archive is only read, and no command of the page is ever run by it. Whoever has the address sees all that the archive holds. It is
    HTTP: on another address than this machine's own, what it shows travels in clear unless something in front of it encrypts. Ends with
    Ctrl-C or SIGTERM.
    """
    settings = context.settings()
    file = context.file.path if context.file is not None else None
    begin = ["archiver", *(["-c", str(file.resolve())] if file else []), *(["--archive", context.archive] if context.archive else [])]
    wait_for(lambda: _serve(settings, host, port, names, begin))


async def _serve(settings: Settings, host: str, port: int, names: tuple[str, ...], begin: list[str]) -> None:
    import asyncio
    import signal

    from archiver.clock import SystemClock
    from archiver.journal.kept_segments import KeptSegments
    from archiver.store.open import open_store
    from archiver.timeline.server import TimelineServer

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    store = await open_store(settings.archive.url, settings.archive.s3)
    try:
        with KeptSegments() as kept:
            server = TimelineServer(store, kept, SystemClock(), begin, names)
            try:
                address, found = await server.start(host, port)
                shown = names[0] if names else f"[{address}]" if ":" in address else address
                output.answer(f"http://{shown}:{found}/#token={server.token}")
                output.say("the timeline page of this archive, for whoever has that address; Ctrl-C ends it")
                if host not in _LOOPBACK:
                    output.say("note: this is HTTP, and not only for this machine: let something in front of it encrypt")
                streams.flush()
                await stop.wait()
            finally:
                await server.stop()
    finally:
        await store.close()
