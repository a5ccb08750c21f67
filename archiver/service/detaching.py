"""``archiver detach``: away with everything that the archiver made at one source. The journal is only read."""

from __future__ import annotations

from archiver.capture.postgres.catalog.detaching import Detachment, carry_out_detachment, plan_detachment
from archiver.capture.postgres.session.access import Access
from archiver.capture.postgres.start.journal_view import newest_slot
from archiver.errors import Invalid, Refused
from archiver.journal.reader import Reader
from archiver.pages import page
from archiver.service.running import ask_running
from archiver.service.sources import postgres_config
from archiver.settings import Settings
from archiver.store.open import open_store
from archiver.suggestions import meant


async def detach(settings: Settings, name: str, *, dry_run: bool) -> Detachment:
    """What was, or with ``dry_run`` would be, taken away at source ``name``.

    Raises ``Invalid`` for a source that the settings do not have, ``Refused`` while it is captured and as ``plan_detachment`` does:
    the same with ``dry_run`` and without.
    """
    source = settings.sources.get(name)
    if source is None:
        hint = f"{meant(name, settings.sources)}they have: {', '.join(settings.sources) or 'none'}"
        raise Invalid(f"the settings have no source {name!r}", hint=hint)
    store = await open_store(settings.archive.url, settings.archive.s3)
    try:
        reader = Reader(store)
        tail = await reader.tail()
        if tail is None:
            raise Invalid(f"there is no journal at {store.url}", hint=f"see {page('runbooks/disable.md')} for what to drop by hand")
        running = await ask_running(settings.web.listen, tail.archive)
        if running is not None and any(line.name.partition("/")[0] == name and line.state != "ended" for line in running.sources):
            raise Refused(
                f"the archiver that runs here captures {name}",
                hint="stop it, or take the source out of its settings and start it again; then detach",
            )
        if source.postgres is None:
            # A cluster is only read: what rights it takes, an administrator gave.
            kept = "Roles, bindings and service accounts: whoever made them takes them away (`helm uninstall`)"
            return Detachment(source=name, kept=[kept])
        mark = tail.sources.get(name)
        known = await newest_slot(reader, name, mark) if mark is not None else None
    finally:
        await store.close()
    config = postgres_config(name, source.postgres, settings)
    async with await Access.of(config.dsn).connect() as session:
        plan = await plan_detachment(session, name, config, known)
        if not dry_run:
            await carry_out_detachment(session, plan, config.slot)
    return plan
