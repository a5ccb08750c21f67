"""``storage.change.rows`` and ``storage.change.objects``: bytes that a change takes in the archive.

    python -m benchmarks.storage_change [transactions]

Rows: what pgbench (TPC-B, two clients) writes to a real server, captured into a local directory; the peer is zstd -3 of the same WAL in one
piece, without page images, as an archiver of WAL would keep it at best. Objects: status updates of 4 KB objects that have little in common
with each other, written by the product's own writer: 100 of them in turn, as a burst, and ``.trickle`` with three changes in each segment,
which is 30 a second; their peer is the object itself. Value: bytes of the journal's segments over the number of changes.
Full size: 1 000 000 transactions.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from archiver.journal.keys import SEGMENTS
from archiver.postgres.lsn import parse_position
from archiver.store.directory import DirectoryStore
from benchmarks.capturing import VERSION, capture, quiet, scratch
from benchmarks.forged import changes_of_objects
from benchmarks.report import emit
from tests.servers.postgres import PostgresServer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TRANSACTIONS = 20_000
PER_TRANSACTION = 4
"""Of TPC-B: three updates and an insert."""
OBJECT_BYTES = 4096
OBJECTS = 100
TRICKLE = 3
"""Changes in each segment where 30 a second meet the ten PUTs that the writer has."""
_WAL_SEGMENT = 16 << 20


def position(server: PostgresServer) -> int:
    """Where the server's log ends."""
    with server.connect() as session:
        row = session.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
    assert row is not None
    return parse_position(row[0])


def compressed_wal(server: PostgresServer, begin: int, end: int) -> int:
    """Bytes of the log between two places under zstd -3."""
    size, packer = 0, zstd.ZstdCompressor(level=3)
    for number in range(begin // _WAL_SEGMENT, (end - 1) // _WAL_SEGMENT + 1):
        high, low = divmod(number, (1 << 32) // _WAL_SEGMENT)
        start = number * _WAL_SEGMENT
        content = (server.data / "pg_wal" / f"00000001{high:08X}{low:08X}").read_bytes()
        size += len(packer.compress(content[max(0, begin - start) : end - start]))
    return size + len(packer.flush())


def segment_bytes(folder: Path) -> int:
    """Of all segments of the archive there."""
    return sum(path.stat().st_size for path in (folder / SEGMENTS).iterdir())


async def captured(server: PostgresServer, folder: Path, transactions: int) -> tuple[int, int]:
    """Bytes of the segments, and of the log under zstd, of so many transactions."""
    pgbench: list[str | Path] = [server.bin / "pgbench", "-n", "-c", "2", "-t", str(transactions // 2), server.socket_dsn()]
    async with capture(server.dsn(), "bench", DirectoryStore(folder)) as made:
        begin, before = position(server), segment_bytes(folder)
        await asyncio.to_thread(lambda: subprocess.run(pgbench, check=True, capture_output=True))
        end = position(server)
        await made.reached(end - 256)
        return segment_bytes(folder) - before, compressed_wal(server, begin, end)


def rows(transactions: int) -> None:
    """Print the measure of rows."""
    with PostgresServer.start(VERSION, {"max_wal_size": "4GB", "wal_keep_size": "4GB"}) as server, scratch() as folder:
        subprocess.run([server.bin / "pgbench", "-i", "-q", "-s", "10", server.socket_dsn()], check=True, capture_output=True)
        ours, peer = asyncio.run(captured(server, folder, transactions))
    changes = transactions * PER_TRANSACTION
    emit(
        "storage.change.rows",
        ours / changes,
        "bytes/change",
        peer="zstd -3 of the same WAL",
        peer_value=peer / changes,
        less_is_better=True,
        changes=changes,
    )


def objects(name: str, changes: int, at_once: int) -> None:
    """Print a measure of objects. ``at_once``: changes of each segment; 0: as many as there are."""
    with scratch() as folder:
        asyncio.run(changes_of_objects(folder, changes, size=OBJECT_BYTES, many=OBJECTS, at_once=at_once))
        size = segment_bytes(folder)
    emit(name, size / changes, "bytes/change", peer="the object", peer_value=OBJECT_BYTES, less_is_better=True, changes=changes)


def main(transactions: int) -> None:
    quiet()
    rows(transactions)
    objects("storage.change.objects", transactions, 0)
    objects("storage.change.objects.trickle", transactions, TRICKLE)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else TRANSACTIONS)
