"""The newest folded checkpoint of a database beside its history files. Neither the sources nor the journal's rows are asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec
import structlog

from archiver.errors import Corrupt
from archiver.journal.entry import Kind
from archiver.journal.folded_checkpoints import checkpoint_keys, require_continued
from archiver.journal.parts import fetch_part, opened
from archiver.journal.remedies import CHECKPOINT_ANEW, HISTORY_ANEW
from archiver.lake.columns import CONTROL
from archiver.lake.data_file import Wanted
from archiver.lake.history_table import HistoryFiles, open_history, read_groups, read_records
from archiver.lake.row_records import copied_rows
from archiver.maintenance.chosen_sources import chosen_sources
from archiver.maintenance.database_history import pieces
from archiver.maintenance.proof.comparable import Compared, comparable
from archiver.maintenance.proof.engines import COLUMNS, DuckDigests, duckdb_digests
from archiver.maintenance.proof.statement import NONE, Sample, TableDigest
from archiver.postgres.records import Schema
from archiver.replay.postgres.plan.checkpoint_choice import decode_checkpoint, read_checkpoint
from archiver.untrusted import Unreadable, decode_untrusted

if TYPE_CHECKING:
    from archiver.journal.reader import Reader
    from archiver.postgres.checkpoint_records import FoldedCheckpoint

_log = structlog.get_logger()

OutsideEngine = Callable[[Sequence[str], Sequence[tuple[int, str]], int, Sample], dict[int, TableDigest]]
"""Keys of files, columns to compare, entry, sample -> digests. It reads the files itself, and is called in a thread."""


class TableProof(msgspec.Struct, frozen=True):
    """What was found of one table of a checkpoint."""

    source: str
    checkpoint: int
    """Entry of the checkpoint; 0: there is none to look at."""
    table: str
    rows: int = 0
    """Rows of the checkpoint that were looked at."""
    columns: int = 0
    """Columns that were compared, of ``of``."""
    of: int = 0
    digest: str = ""
    """Of these cells, by both ways; empty when they differ, or were not compared."""
    differs: str = ""
    """How they differ."""
    reason: str = ""
    """Why nothing, or not all, was compared."""


async def prove(reader: Reader, sources: Sequence[str], sample: Sample, outside: OutsideEngine | None = None) -> AsyncGenerator[TableProof]:
    """Every table of the newest checkpoint of each database that history files reach. ``outside``: who reads the files in place of DuckDB.

    Nothing is written. Memory: a piece of a table or a row group, beside the engine's. The temporary folder takes the tables' records.
    Raises ``Corrupt`` when a part or a file cannot be read, ``Invalid`` and ``Unavailable`` as the engines do.
    """
    for source, is_cluster in chosen_sources(await reader.tail(), sources):
        if is_cluster:
            yield TableProof(source, 0, "", reason="it is a cluster: this compares databases")
            continue
        history = await open_history(reader, source)
        if history is None:
            yield TableProof(
                source, 0, "", reason="it has no history files that can be read: write them with `archiver maintain --history`"
            )
            continue
        found = await _newest(reader, source, history.progress.covered)
        if found is None:
            text = f"no checkpoint of it is within its history files, which end at entry {history.progress.covered}"
            yield TableProof(source, 0, "", reason=text)
            continue
        async with aclosing(_tables(reader, history, found, sample, outside)) as proofs:
            async for proof in proofs:
                yield proof


async def _newest(reader: Reader, source: str, covered: int) -> FoldedCheckpoint | None:
    """The newest checkpoint of this journal that ends at or before entry ``covered``."""
    archive = (await reader.identity()).id
    async with aclosing(checkpoint_keys(reader.store, source, covered)) as keys:
        async for entry, key in keys:
            try:
                found = decode_checkpoint(await read_checkpoint(reader.store, key), key=key, archive=archive, source=source, entry=entry)
                await require_continued(reader, key, found.segment, found.chain)
            except Corrupt as error:
                _log.warning("checkpoint_passed_over", key=key, reason=error.message)
            else:
                return found
    return None


async def _tables(
    reader: Reader, history: HistoryFiles, folded: FoldedCheckpoint, sample: Sample, outside: OutsideEngine | None
) -> AsyncGenerator[TableProof]:
    schemas, copied = await _said(reader, history, folded.entry)
    compared = [comparable(rows, schemas, copied, history.progress) for rows in folded.snapshot.tables]
    wanted = [(each.rows.oid, title) for each in compared if not each.reason for title in each.titles]
    with duckdb_digests(wanted, sample) as engine:
        folded_way = {each.rows.oid: await _of_parts(reader, folded, each, engine) for each in compared if not each.reason}
        if outside is None:
            other = await _of_files(reader, history, sorted({oid for oid, _ in wanted}), folded.entry, engine)
        else:
            other = await asyncio.to_thread(outside, [file.key for file in history.files], wanted, folded.entry, sample)
    for name in _missing(folded, schemas):
        yield TableProof(folded.source, folded.entry, name, differs="the checkpoint does not have it")
    for each in compared:
        one, two = folded_way.get(each.rows.oid, NONE), other.get(each.rows.oid, NONE)
        yield _proof(folded, each, one, two)


def _missing(folded: FoldedCheckpoint, schemas: Sequence[tuple[int, Schema]]) -> list[str]:
    """Tables that the schema of the checkpoint has, and the checkpoint has not."""
    there = {rows.oid for rows in folded.snapshot.tables}
    known = next((schema for entry, schema in schemas if folded.schemas and entry == folded.schemas[0].entry), None)
    tables = known.catalog.tables if known is not None else []
    return [f"{each.schema}.{each.name}" for each in tables if each.kind != "p" and each.mode != "excluded" and each.oid not in there]


async def _said(reader: Reader, history: HistoryFiles, entry: int) -> tuple[list[tuple[int, Schema]], dict[int, int]]:
    """Schema entries up to ``entry``, in order, and which entry copied a relation last."""
    schemas, copied = list[tuple[int, Schema]](), dict[int, int]()
    for record in await read_records(reader.store, history.files, Wanted([0], None, last=entry)):
        if record["operation"] == CONTROL and record["key"] == Kind.PG_SCHEMA.name:
            body = record["row"].encode()
            try:
                schemas.append((record["entry"], decode_untrusted(body, Schema, most=len(body))))
            except Unreadable as error:
                raise Corrupt(
                    f"a schema entry in the history files of {history.progress.source} cannot be read: {error}", hint=HISTORY_ANEW
                ) from None
    found = await _marks(reader, history, entry)
    for oid, at in found:
        copied[oid] = max(copied.get(oid, 0), at)
    return sorted(schemas, key=lambda each: each[0]), copied


async def _marks(reader: Reader, history: HistoryFiles, entry: int) -> list[tuple[int, int]]:
    """Relation and entry of every copy."""
    wanted = Wanted([each.oid for each in history.progress.identities], [""], last=entry)
    records = await read_records(reader.store, history.files, wanted)
    return [(record["relation"], record["entry"]) for record in records if record["operation"] == "copy"]


async def _of_parts(reader: Reader, folded: FoldedCheckpoint, table: Compared, engine: DuckDigests) -> TableDigest:
    """Of one table as the checkpoint has it, a piece at a time: sums can be added."""
    found = NONE
    for part in table.rows.parts:
        text = await asyncio.to_thread(opened, part, await fetch_part(reader.store, part))
        for piece in pieces(text):
            place = (0, 0, folded.entry, 0, 0)
            records = await asyncio.to_thread(copied_rows, folded.source, table.rows, table.key, piece, place)
            await asyncio.to_thread(engine.add, records)
            found = found.plus((await asyncio.to_thread(engine.digests, folded.entry)).get(table.rows.oid, NONE))
    return found


async def _of_files(
    reader: Reader, history: HistoryFiles, relations: Sequence[int], entry: int, engine: DuckDigests
) -> dict[int, TableDigest]:
    """Of every table, from the records of its history."""
    wanted = Wanted(relations, None, last=entry)
    for file in history.files:
        for group in file.groups(wanted):
            await asyncio.to_thread(engine.add, await read_groups(reader.store, file, [group], COLUMNS))
    return await asyncio.to_thread(engine.digests, entry)


def _proof(folded: FoldedCheckpoint, table: Compared, one: TableDigest, two: TableDigest) -> TableProof:
    rows = table.rows
    name, width = f"{rows.schema}.{rows.name}", len(rows.columns)
    if table.reason:
        return TableProof(folded.source, folded.entry, name, of=width, reason=table.reason)
    told = len(table.titles)
    found = TableProof(folded.source, folded.entry, name, one.rows, told, width)
    lacking = two.rows * told - two.cells
    if one.rows == two.rows and lacking:
        # A row that was given another key is said without what stands outside of it.
        text = f"{lacking} values are not in the history of their key: only rows were counted"
        return msgspec.structs.replace(found, columns=0, reason=text)
    if one != two:
        how = f"{one.rows} rows here, {two.rows} by history files" if one.rows != two.rows else f"{one.rows} rows, with other values"
        return msgspec.structs.replace(found, differs=how)
    left = f"{width - told} columns were changed since their rows were written" if told < width else ""
    return msgspec.structs.replace(found, digest=f"{one.first:x}-{one.second:x}", reason=left)


REMEDY = (
    "keep the archive as it is, and restore without the checkpoint: "
    f"{CHECKPOINT_ANEW}; run `archiver verify --level all`, which compares history files with the journal"
)
"""What to do where a checkpoint and history files differ: one of them is wrong."""
