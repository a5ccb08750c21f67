"""Folded checkpoints beside history files: what the fold made, a statement says as well, and what was altered is named."""

from __future__ import annotations

import asyncio
import uuid

import msgspec
import pytest

from archiver.clock import SystemClock
from archiver.journal.keys import checkpoint_key
from archiver.journal.parts import opened
from archiver.journal.reader import Reader
from archiver.maintenance.folding import fold_database
from archiver.maintenance.part_writer import PartWriter
from archiver.maintenance.proof.proving import TableProof, prove
from archiver.maintenance.proof.statement import Sample
from archiver.postgres.checkpoint_records import FoldedCheckpoint
from archiver.replay.postgres.plan.checkpoint_choice import decode_checkpoint
from tests.integration.capture.postgres.rig import SOURCE, Capture, capture
from tests.integration.maintenance.test_history_files import build, copied
from tests.integration.replay.postgres.agents import CHANGES, FILL, SCHEMA
from tests.integration.replay.postgres.arrange import baseline, quiet, run

pytestmark = pytest.mark.postgres(18)

TRAPS = (
    "CREATE TABLE docs (id int PRIMARY KEY, title text, body text)",
    "ALTER TABLE docs ALTER body SET STORAGE EXTERNAL",
    "INSERT INTO docs SELECT n, 'doc ' || n, repeat(n::text, 3000) FROM generate_series(1, 40) AS n",
    "UPDATE docs SET title = 'renamed' WHERE id < 20",
    "DELETE FROM docs WHERE id IN (3, 7)",
    "CREATE TABLE tally (word text, many int)",
    "ALTER TABLE tally REPLICA IDENTITY FULL",
    "INSERT INTO tally SELECT 'same', 1 FROM generate_series(1, 5)",
    "DELETE FROM tally WHERE ctid IN (SELECT ctid FROM tally LIMIT 2)",
    """INSERT INTO tally VALUES (E'\\\\ " \\n\\t\\x01 ü', NULL), ('', 0)""",
    "CREATE TABLE emptied (id int PRIMARY KEY)",
    "INSERT INTO emptied VALUES (1), (2)",
    "TRUNCATE emptied",
    "INSERT INTO emptied VALUES (2), (3)",
    "CREATE TABLE grown (id int PRIMARY KEY, a text)",
    "INSERT INTO grown VALUES (1, 'x'), (2, 'y')",
    "ALTER TABLE grown ADD b int DEFAULT 7",
    "UPDATE grown SET b = 8 WHERE id = 2",
)


async def changed(made: Capture, database: str) -> None:
    """Everything happens to the tables, one after the other."""
    for change in (*CHANGES, *TRAPS[3:]):
        await asyncio.to_thread(run, database, change)
        if change.startswith(("ALTER", "CREATE")):
            await quiet(made, database)
    run(database, "INSERT INTO docs VALUES (41, 'last', 'short')")
    await quiet(made, database)


async def proofs(made: Capture, of: int = 1, turn: int = 0) -> dict[str, TableProof]:
    """By table."""
    found = [proof async for proof in prove(Reader(made.store), [], Sample(of, turn))]
    return {proof.table: proof for proof in found}


async def folded(made: Capture) -> FoldedCheckpoint:
    """A checkpoint near the journal's end, and history files that reach it."""
    reader = Reader(made.store)
    done = await fold_database(reader, SystemClock(), SOURCE, until=await reader.last())
    assert done.key, done.reason
    await build(made)
    body = await made.store.get(done.key) or b""
    return decode_checkpoint(body, key=done.key, archive=(await reader.identity()).id, source=SOURCE, entry=done.entry)


async def altered(made: Capture, checkpoint: FoldedCheckpoint, table: str, old: bytes, new: bytes) -> Capture:
    """The archive with a checkpoint whose rows of one table were folded otherwise, hashes and all."""
    tables = []
    for each in checkpoint.snapshot.tables:
        if each.name != table:
            tables.append(each)
            continue
        texts = [opened(part, await made.store.get(part.key) or b"") for part in each.parts]
        assert sum(text.count(old) for text in texts) == 1
        writer = PartWriter(made.store, SystemClock(), SOURCE, level=3, offload=asyncio.to_thread)
        parts = [await writer.add(text.replace(old, new)) for text in texts] + [await writer.end()]
        tables.append(msgspec.structs.replace(each, parts=[part for part in parts if part is not None]))
    return await published(made, msgspec.structs.replace(checkpoint, snapshot=msgspec.structs.replace(checkpoint.snapshot, tables=tables)))


async def published(made: Capture, forged: FoldedCheckpoint) -> Capture:
    """The archive with this checkpoint in place of its own."""
    other = copied(made, history=True)
    key = checkpoint_key(SOURCE, forged.entry)
    await other.store.delete(key)
    assert await other.store.put_if_absent(key, msgspec.json.encode(forged))
    return other


async def test_every_table_of_a_checkpoint_is_what_its_history_says(database: str) -> None:
    """Rows that were updated without their large values, rows without a key, columns that came later; then with one value, and one row,
    less."""
    run(database, SCHEMA, FILL, *TRAPS[:3])
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.3) as made:
        await baseline(made)
        await changed(made, database)
        checkpoint = await folded(made)
        found = await proofs(made)
        assert not [proof for proof in found.values() if proof.differs]
        assert (found["public.docs"].rows, found["public.docs"].columns) == (39, 3)
        assert (found["public.tally"].rows, found["public.tally"].columns) == (5, 2)
        assert (found["public.emptied"].rows, bool(found["public.emptied"].digest)) == (2, True)
        assert (found["public.grown"].columns, found["public.grown"].of, found["public.grown"].reason) == (
            2, 3, "1 columns were changed since their rows were written",
        )  # fmt: skip
        assert sum(bool(proof.digest) for proof in found.values()) > len(found) / 2

        # Parts of a sample are the whole.
        shares = [(await proofs(made, 3, turn))["public.docs"].rows for turn in range(3)]
        assert (sum(shares), max(shares) < 39) == (39, True)

        value = await altered(made, checkpoint, "docs", b"\tlast\tshort", b"\tlast\tshore")
        assert (await proofs(value))["public.docs"].differs == "39 rows, with other values"
        row = await altered(made, checkpoint, "docs", b"41\tlast\tshort\n", b"")
        found = await proofs(row)
        assert found["public.docs"].differs == "38 rows here, 39 by history files"
        assert [proof.table for proof in found.values() if proof.differs] == ["public.docs"]
        less = msgspec.structs.replace(checkpoint.snapshot, tables=[each for each in checkpoint.snapshot.tables if each.name != "tally"])
        found = await proofs(await published(made, msgspec.structs.replace(checkpoint, snapshot=less)))
        assert [(proof.table, proof.differs) for proof in found.values() if proof.differs] == [
            ("public.tally", "the checkpoint does not have it")
        ]
