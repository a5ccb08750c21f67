"""The schema of a live database, by pg_dump."""

from __future__ import annotations

from archiver.capture.postgres.session.access import Access
from archiver.capture.postgres.session.dump_selection import DumpSelection
from archiver.postgres.client_programs import PgTools, find_tools, run

__all__ = ["PgTools", "dump_schema", "find_tools"]


DUMP_BYTES, DUMP_SECONDS = 256 << 20, 3600.0
"""Whoever owns a function or a comment chooses how large it is. 25 000 tables have some megabytes, and take a minute or two."""


async def dump_schema(
    tools: PgTools, access: Access, selection: DumpSelection, *, snapshot: str, lock_wait_seconds: float = 0.75, restricted: bool = True
) -> bytes:
    """``pg_dump --format=custom --schema-only`` of ``selection`` under an exported snapshot.

    pg_dump holds ACCESS SHARE locks on all tables while it runs, mostly under a second. It gives up rather than wait
    ``lock_wait_seconds`` for one: less than ``deadlock_timeout``, so that a migration that wants two of them never loses against it.
    ``restricted``: the server knows that setting; pg_dump itself sets it only from its own minor release of August 2024 on.
    Raises ``Unavailable``, ``Refused``; cancellation ends the program.
    """
    told, stdin = selection.told(tools.version)
    arguments = [
        "--format=custom",
        "--schema-only",
        "--no-password",
        "--no-publications",
        "--no-subscriptions",
        f"--snapshot={snapshot}",
        f"--lock-wait-timeout={int(lock_wait_seconds * 1000)}",
        *told,
    ]
    with access.for_programs(restricted=restricted) as (dsn, environment):
        whole = [*arguments, f"--dbname={dsn}"]
        return await run(tools.bin / "pg_dump", whole, environment=environment, stdin=stdin, most=DUMP_BYTES, seconds=DUMP_SECONDS)
