"""``archiver web``: the timeline page of an archive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import click

from archiver.cli import output, streams
from archiver.cli.main import Context, wait_for
from archiver.errors import Invalid
from archiver.suggestions import meant

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.settings import Kubernetes, Settings
    from archiver.timeline.server import Reviewed

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Listen on this address.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, metavar="PORT", help="On this port; 0: a free one.")
@click.option(
    "--name", "names", multiple=True, metavar="HOST", help="The page is asked for under this name too (repeatable): a proxy's, a forward's."
)
@click.option("--reviews", is_flag=True, help="Show each asker what the API server says they may read; the token is theirs.")
@click.option(
    "--cluster",
    default="",
    metavar="SOURCE",
    help="With --reviews: the Kubernetes source of the settings whose API server it is.",
)
@click.option("--namespace", default="", metavar="NAME", help="With --reviews: where rights to whole sources are granted.")
@click.option("--audience", default="", metavar="NAME", help="With --reviews: take tokens for this audience, not those for the API server.")
@click.pass_obj
def web(
    context: Context, *, host: str, port: int, names: tuple[str, ...], reviews: bool, cluster: str, namespace: str, audience: str
) -> None:
    """Serve the timeline page: what changed when, one row's or object's life, and the command that brings it back.

    \b
    archiver web                       prints the address, with its token
    archiver web --port 8090           for a forwarded port
    archiver web --reviews --cluster agents --namespace archiver
                                       for many, each with a token of their own

    The archive is only read, and no command of the page is ever run by it. Whoever has the address sees all that the archive holds; with
    --reviews whoever asks sees the kinds that they may `list`, in the namespaces where they may, and sources of which they may `get`
    sources.archiver.proompteng.ai by name. It is HTTP: on another address than this machine's own, what it shows, and tokens, travel in
    clear unless something in front of it encrypts. Ends with Ctrl-C or SIGTERM.
    """
    if not reviews and (cluster or namespace or audience):
        raise click.UsageError("--cluster, --namespace and --audience are about --reviews")
    settings = context.settings()
    file = context.file.path if context.file is not None else None
    begin = ["archiver", *(["-c", str(file.resolve())] if file else []), *(["--archive", context.archive] if context.archive else [])]
    source = settings.sources.get(cluster)
    if cluster and (source is None or source.kubernetes is None):
        clusters = sorted(name for name, each in settings.sources.items() if each.kubernetes is not None)
        raise Invalid(
            f"the settings have no Kubernetes source {cluster!r}",
            hint=f"{meant(cluster, clusters)}they have: {', '.join(clusters) or 'none'}",
        )
    if reviews and not namespace:
        raise click.UsageError("--reviews needs --namespace: rights to whole sources are granted there")
    asking = _Asking(source.kubernetes if source is not None else None, cluster, namespace, audience) if reviews else None
    wait_for(lambda: _serve(settings, host, port, names, begin, asking))


class _Asking(NamedTuple):
    """Of which API server, and about what."""

    options: Kubernetes | None
    cluster: str
    namespace: str
    audience: str


@asynccontextmanager
async def _reviewed(asking: _Asking | None, clock: Clock) -> AsyncIterator[Reviewed | None]:
    from archiver.kubernetes.api import Api
    from archiver.timeline.reviews import Reviews
    from archiver.timeline.server import Reviewed

    if asking is None:
        yield None
        return
    options = asking.options
    api = await Api.open(clock, kubeconfig=options.kubeconfig if options else "", context=options.context if options else "")
    try:
        made = f" --audience {asking.audience}" if asking.audience else ""
        hint = f"a ServiceAccount's is made by: kubectl create token NAME{made}"
        yield Reviewed(Reviews(api, clock, namespace=asking.namespace, audience=asking.audience), asking.cluster, hint)
    finally:
        await api.close()


async def _serve(settings: Settings, host: str, port: int, names: tuple[str, ...], begin: list[str], asking: _Asking | None) -> None:
    import asyncio
    import signal

    from archiver.clock import SystemClock
    from archiver.journal.kept_segments import KeptSegments
    from archiver.store.open import open_store
    from archiver.timeline.server import TimelineServer

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    clock = SystemClock()
    store = await open_store(settings.archive.url, settings.archive.s3)
    try:
        with KeptSegments() as kept:
            async with _reviewed(asking, clock) as reviewed:
                server = TimelineServer(store, kept, clock, begin, names, reviewed)
                try:
                    address, found = await server.start(host, port)
                    shown = names[0] if names else f"[{address}]" if ":" in address else address
                    output.answer(f"http://{shown}:{found}/" + (f"#token={server.token}" if reviewed is None else ""))
                    whose = "whoever has that address" if reviewed is None else "each whom the cluster knows what they may read"
                    output.say(f"the timeline page of this archive, for {whose}; Ctrl-C ends it")
                    if host not in _LOOPBACK:
                        output.say("note: this is HTTP, and not only for this machine: let something in front of it encrypt")
                    streams.flush()
                    await stop.wait()
                finally:
                    await server.stop()
    finally:
        await store.close()
