"""Restores of some tables, as the command makes them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from archiver.clock import SystemClock
from archiver.journal.reader import Reader
from archiver.replay.excerpt import Excerpt
from archiver.replay.postgres.restore import ExcerptReport, ExcerptRestoration
from archiver.replay.restoration import Options
from archiver.restore import carry_out, close_plans, make_plans
from tests.integration.capture.postgres.rig import Capture
from tests.servers.postgres import PostgresServer


async def planned(made: Capture, dsn: str, at: str = "latest", *, excerpt: Excerpt | None, **options: Any) -> ExcerptRestoration:
    """The plan of an excerpt for the database ``dsn``."""
    plans = await make_plans(Reader(made.store), at, [dsn], [], Options(excerpt=excerpt, **options), SystemClock())
    await close_plans(plans)
    [found] = plans.sources
    assert isinstance(found, ExcerptRestoration)
    return found


async def restored(made: Capture, dsn: str, at: str = "latest", *, excerpt: Excerpt | None, **options: Any) -> ExcerptReport:
    """Planned and carried out."""
    chosen = Options(excerpt=excerpt, **{"into_source": True, **options})
    plans = await make_plans(Reader(made.store), at, [dsn], [], chosen, SystemClock())
    try:
        [done] = await carry_out(plans, chosen, lambda _: nullcontext(lambda *_: None))
    finally:
        await close_plans(plans)
    assert isinstance(done.report, ExcerptReport)
    return done.report


def beside(*tables: str, schemas: Sequence[str] = (), rows: Sequence[str] = (), into: str = "restored") -> Excerpt | None:
    """Into a new schema."""
    return Excerpt.parse(tables, schemas, rows, into, None)


def merge(table: str, file: Path, *rows: str) -> Excerpt | None:
    """As a script."""
    return Excerpt.parse([table], [], rows, "", file)


def psql(server: PostgresServer, dsn: str, file: Path) -> subprocess.CompletedProcess[str]:
    """What the head of a script says to do."""
    command: list[str | Path] = [server.bin / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-f", file, dsn]
    return subprocess.run(command, check=False, capture_output=True, text=True)
