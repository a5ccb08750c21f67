"""The schema of a live database, by pg_dump."""

from __future__ import annotations

from collections.abc import Sequence

from archiver.capture.postgres.session.access import Access
from archiver.postgres.client_programs import PgTools, find_tools, run

__all__ = ["PgTools", "dump_schema", "find_tools"]


async def dump_schema(
    tools: PgTools,
    access: Access,
    *,
    snapshot: str,
    schemas: Sequence[str] = (),
    extensions: Sequence[str] = (),
    exclude_schemas: Sequence[str] = (),
    exclude_tables: Sequence[str] = (),
    lock_wait_seconds: float = 0.75,
    restricted: bool = True,
) -> bytes:
    """``pg_dump --format=custom --schema-only`` under an exported snapshot.

    All but ``extensions`` (names) are patterns of pg_dump, quoted. ``schemas``: only these, and ``extensions``, which go with all others
    by themselves. pg_dump holds ACCESS SHARE locks on all tables while it runs, mostly under a second. It gives up rather than wait
    ``lock_wait_seconds`` for one: less than ``deadlock_timeout``, so that a migration that wants two of them never loses against it.
    ``restricted``: the server knows that setting; pg_dump itself sets it only from its own minor release of August 2024 on.
    Raises ``Unavailable``; cancellation ends the program.
    """
    arguments = [
        "--format=custom",
        "--schema-only",
        "--no-password",
        "--no-publications",
        "--no-subscriptions",
        f"--snapshot={snapshot}",
        f"--lock-wait-timeout={int(lock_wait_seconds * 1000)}",
        *(f"--schema={name}" for name in schemas),
        *(f'--extension="{name}"' for name in extensions),
        *(f"--exclude-schema={name}" for name in exclude_schemas),
        *(f"--exclude-table={name}" for name in exclude_tables),
        f"--dbname={access.program_dsn(restricted=restricted)}",
    ]
    return await run(tools.bin / "pg_dump", arguments, environment=access.environment())
