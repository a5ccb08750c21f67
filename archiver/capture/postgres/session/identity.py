"""Which database a connection string leads to."""

from __future__ import annotations

import asyncio

import psycopg

from archiver.capture.postgres.session.access import Access, translated
from archiver.errors import Unavailable
from archiver.postgres.captured_systems import CapturedDatabase

ASKED_SECONDS = 5.0
"""How long the server may take to answer."""


async def identity_of(dsn: str) -> CapturedDatabase:
    """System identifier and name of the database behind ``dsn``. Raises what ``Access.connect`` does, and ``Unavailable`` for silence."""
    try:
        async with asyncio.timeout(ASKED_SECONDS), await Access.of(dsn).connect() as session:
            cursor = await session.execute("SELECT system_identifier::text, current_database() FROM pg_catalog.pg_control_system()")
            row = await cursor.fetchone()
    except TimeoutError:
        raise Unavailable(f"no answer within {ASKED_SECONDS:g} s", hint="does the server run?") from None
    except psycopg.Error as error:
        raise translated(error, "asking the server who it is") from error
    assert row is not None
    return CapturedDatabase(row[0], row[1])
