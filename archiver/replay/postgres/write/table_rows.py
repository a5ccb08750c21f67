"""Rows of one table at the point, as a stream of COPY text: the next piece is made in a thread while the one before is being sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archiver.errors import Corrupt
from archiver.journal.parts import Part, fetch_part, opened
from archiver.journal.remedies import CHECKPOINT_ANEW
from archiver.memory import OneThread
from archiver.postgres.records import Column, Table
from archiver.replay.postgres.fold.database import DatabaseFold, TableOutput
from archiver.waiting import first_of

if TYPE_CHECKING:
    from archiver.store.protocol import Store

_AHEAD = 2
"""Pieces made before they are asked for."""


@dataclass(slots=True)
class TableRows:
    """The rows of one table, to be read once."""

    table: Table
    columns: list[Column]
    """Of the text, in order; generated ones are left out."""
    parts: list[Part]
    changes: int
    output: TableOutput
    """What is left of each part, and the rest."""
    _store: Store
    _checkpoint: str = ""
    """The object of the folded checkpoint that the restore begins with; empty: it begins with a copy of the source."""

    @property
    def rows(self) -> int:
        """How many there are; final when ``read`` has ended."""
        return self.output.rows

    async def read(self) -> AsyncGenerator[memoryview]:
        """COPY text in pieces of whole rows. ``Corrupt`` when a part is missing or altered, or changes contradict the rows they change."""
        fetched: asyncio.Queue[bytes | memoryview | None] = asyncio.Queue(_AHEAD)
        task = asyncio.create_task(self._produce(fetched))
        try:
            while (piece := await _next(fetched, task)) is not None:
                if len(piece):
                    yield memoryview(piece)
            await task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task

    async def _produce(self, queue: asyncio.Queue[bytes | memoryview | None]) -> None:
        with OneThread() as thread:
            await self._produce_in(thread, queue)

    async def _produce_in(self, thread: OneThread, queue: asyncio.Queue[bytes | memoryview | None]) -> None:
        following = asyncio.create_task(self._fetch(self.parts[0])) if self.parts else None
        for number, part in enumerate(self.parts):
            assert following is not None
            stored = await following
            try:
                text = await thread.run(opened, part, stored)
            except Corrupt as error:
                raise self._fault(error) from error
            following = asyncio.create_task(self._fetch(self.parts[number + 1])) if number + 1 < len(self.parts) else None
            await _drain(thread, self.output.part(text), queue)
        await _drain(thread, self.output.rest(), queue)
        await queue.put(None)

    async def _fetch(self, part: Part) -> bytes:
        try:
            return await fetch_part(self._store, part)
        except Corrupt as error:
            raise self._fault(error) from error

    def _fault(self, error: Corrupt) -> Corrupt:
        hint = error.hint
        if self._checkpoint:
            hint = (
                f"these rows come from the folded checkpoint {self._checkpoint}: {CHECKPOINT_ANEW}; `archiver verify` names every bad one"
            )
        return Corrupt(f"rows of {self.table.schema}.{self.table.name}: {error.message}", hint=hint)


async def _drain(thread: OneThread, pieces: Iterator[memoryview], queue: asyncio.Queue[bytes | memoryview | None]) -> None:
    step: Callable[[], memoryview | None] = lambda: next(pieces, None)  # noqa: E731
    while (piece := await thread.run(step)) is not None:
        await queue.put(piece)


async def _next(queue: asyncio.Queue[bytes | memoryview | None], task: asyncio.Task[None]) -> bytes | memoryview | None:
    """The next piece; raises what the producer raised."""
    if not queue.empty():
        return queue.get_nowait()
    getting = asyncio.create_task(queue.get())
    try:
        await first_of(getting, task)
        if getting.done():
            return getting.result()
        task.result()
        return await getting
    finally:
        getting.cancel()


def rows_of(fold: DatabaseFold, table: Table, store: Store, checkpoint: str = "") -> TableRows:
    """The rows of ``table``; ``fold`` is finished. ``checkpoint``: the object of the folded one that it began with."""
    columns = [column for column in table.columns if not column.generated]
    state = fold.table(table.oid)
    output = state.output([column.attnum for column in columns])
    return TableRows(table, columns, list(state.base.parts) if state.base else [], state.changes, output, store, checkpoint)
