"""Tables with columns that are kept out of the archive, and a look into everything that the archive has."""

from __future__ import annotations

import contextlib
import io
import sys
import uuid

import psycopg
import pyarrow.parquet as pq

from archiver.store.memory import MemoryStore
from tests.integration.capture.postgres.rig import Capture

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SECRET = "hunter2-kept-nowhere"
MAGIC = b"\x28\xb5\x2f\xfd"


def slot() -> str:
    return f"archiver_{uuid.uuid4().hex[:12]}"


async def stored(store: MemoryStore) -> list[bytes]:
    """Every object as it is, and all that is compressed in it end to end; of history files all values."""
    found = []
    for key in await store.list(""):
        data = store.peek(key)
        assert data is not None
        opened, at = [], data.find(MAGIC)
        while at >= 0:
            # The magic number can also stand in the midst of a frame.
            with contextlib.suppress(zstd.ZstdError):
                opened.append(zstd.ZstdDecompressor().decompress(data[at:]))
            at = data.find(MAGIC, at + 1)
        found += [data, b"".join(opened)]
        if data.startswith(b"PAR1"):
            found.append(str(pq.read_table(io.BytesIO(data)).to_pylist()).encode())
    return found


async def shown(made: Capture, text: str) -> int:
    """In how many places of the archive ``text`` stands."""
    return sum(text.encode() in data for data in await stored(made.store))


def contents(dsn: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as session:
        return session.execute(query.encode()).fetchall()


TABLES = [
    "CREATE TABLE users (id int PRIMARY KEY, name text, secret text DEFAULT 'none', lower text GENERATED ALWAYS AS (lower(secret)) STORED)",
    "ALTER TABLE users ALTER secret SET STORAGE EXTERNAL",
    "CREATE TABLE logins (at int, secret text)",
    "CREATE TABLE parts (id int, secret text, day int, PRIMARY KEY (day, id)) PARTITION BY RANGE (day)",
    "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10)",
]
LINES = ["public.users.secret", "public.logins.secret", "public.parts.secret"]
