"""Some tables of a database, beside what lives: into a new schema, or as a script that would bring them into their live table.

planned -> narrowed to its tables -> target looked at -> refused, or carried out: a schema in one transaction, or a file
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
import structlog

from archiver import clock
from archiver.errors import ArchiverError, Invalid, Refused
from archiver.memory import OneThread
from archiver.replay.postgres.plan.excerpt_plan import ExcerptTable, excerpt_tables, narrowed
from archiver.replay.postgres.plan.plan import Moment, RestoredTable, RestorePlan
from archiver.replay.postgres.plan.planner import plan_restore
from archiver.replay.postgres.write.beside import BesideLook, BesideWriter, look_beside
from archiver.replay.postgres.write.dump_items import quoted
from archiver.replay.postgres.write.live_table import LiveTable, look_at, one_snapshot
from archiver.replay.postgres.write.merge_file import Compared, Difference, comparison_of, refuse_file, take_live, take_past, write_script
from archiver.replay.postgres.write.plan_records import PlanRecords, fold_changes, gather
from archiver.replay.postgres.write.table_rows import TableRows, rows_of
from archiver.replay.postgres.write.target_database import Connection, connected, explained, pin, shown

if TYPE_CHECKING:
    from archiver.journal.reader import Reader
    from archiver.replay.excerpt import Excerpt
    from archiver.replay.points import Point
    from archiver.replay.restoration import Options, Progress
    from archiver.replay.targets import Target

_log = structlog.get_logger()


class BytesRead(msgspec.Struct, frozen=True):
    """What an excerpt took from the store."""

    rows: int
    """Of its tables' own parts in the checkpoint."""
    journal: int
    """Of the segments between checkpoint and point, which hold the changes of all tables."""


class ExcerptReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was made of an excerpt."""

    source: str
    point: Moment
    target: str
    """Without password."""
    read: BytesRead
    into_schema: str = ""
    tables: list[RestoredTable] = []
    """As they are in the new schema."""
    undo: str = ""
    """The statement that takes the new schema away."""
    script: str = ""
    """The file with what would be done; empty when nothing would."""
    difference: Difference | None = None
    notes: list[str] = []
    not_included: list[str] = []
    seconds: float = 0.0

    @property
    def problems(self) -> list[str]:
        """It is all or nothing."""
        return []


@dataclass(slots=True)
class ExcerptRestoration:
    """The ``Restoration`` of an excerpt."""

    source: str
    target: Target | None
    plan: RestorePlan
    tables: list[ExcerptTable]
    material: PlanRecords
    reader: Reader
    options: Options
    excerpt: Excerpt
    notes: list[str] = field(default_factory=list)
    refusal: ArchiverError | None = None
    difference: Difference | None = None
    """With the live rows, when the target was to be asked."""

    @property
    def moment(self) -> int:
        """See ``Restoration``."""
        return self.plan.point.time

    @property
    def entry(self) -> int:
        """See ``Restoration``."""
        return self.plan.point.entry

    @property
    def gaps(self) -> list[str]:
        """See ``Restoration``."""
        return self.plan.gap_texts

    @property
    def doubts(self) -> list[str]:
        """See ``Restoration``."""
        return self.plan.doubts

    def shown(self) -> dict[str, Any]:
        """See ``Restoration``."""
        refusal = self.refusal.message if self.refusal is not None else None
        return {
            "plan": self.plan,
            "rows": self.excerpt.rows,
            "into_schema": self.excerpt.into_schema,
            "script": str(self.excerpt.merge_script or ""),
            "notes": self.notes,
            "refusal": refusal,
            "difference": self.difference,
        }

    def pause(self) -> None:
        """A database has no leases."""

    async def close(self) -> None:
        """Nothing is open between planning and carrying out."""

    async def look(self) -> None:
        """Look at the target, and compare with its rows if it is to be asked. Nothing is changed."""
        try:
            if self.excerpt.merge_script is None:
                async with self._connected() as connection:
                    self.notes += (await self._look_beside(connection)).notes
                return
            refuse_file(self.excerpt.merge_script)
            if self.options.ask_target and (not self.gaps or self.options.allow_gaps):
                async with self._compared(lambda *_: None) as (live, compared, _):
                    self.difference = compared.difference
                    self.notes += live.notes
                return
            async with self._connected() as connection, one_snapshot(connection):
                self.notes += (await look_at(connection, self.tables[0], self.excerpt, self.plan.captured)).notes
        except ArchiverError as error:
            self.refusal = error

    async def carry_out(self, progress: Progress) -> ExcerptReport:
        """See ``Restoration``. Into a schema it is one transaction; a script is one file, and nothing is written to the target.

        Raises ``Refused``, ``Corrupt``, ``Unavailable``, ``Invalid``; then nothing is there.
        """
        for note in self.notes:
            _log.warning("before_restore", source=self.source, note=note)
        started = time.monotonic()
        report = await (self._beside(progress) if self.excerpt.merge_script is None else self._script(progress))
        return msgspec.structs.replace(report, seconds=time.monotonic() - started)

    async def _beside(self, progress: Progress) -> ExcerptReport:
        async with self._connected() as connection:
            look = await self._look_beside(connection)
            read = await self._rows(progress)
            writer = BesideWriter(connection, self.excerpt, read)
            written = await writer.write(self.tables, look, lambda step, done: progress(step, done, 0))
        undo = f"DROP SCHEMA {quoted(self.excerpt.into_schema.encode()).decode()} CASCADE"
        return self._report(tables=written, into_schema=self.excerpt.into_schema, undo=undo, notes=[*look.notes, *writer.notes])

    async def _script(self, progress: Progress) -> ExcerptReport:
        file = self.excerpt.merge_script
        assert file is not None
        refuse_file(file)
        async with self._compared(lambda step, done: progress(step, done, 0)) as (live, compared, read_at):
            difference = compared.difference
            if difference.total:
                await write_script(compared, file, self._facts(difference, live, read_at))
        return self._report(script=str(file) if difference.total else "", difference=difference, notes=live.notes)

    def _facts(self, difference: Difference, live: LiveTable, read_at: str) -> list[tuple[str, str]]:
        point = self.plan.point
        asked = [f"{column}={value}" for column, values in self.excerpt.rows.items() for value in values]
        return [
            ("makes the live rows of", f"{live.shown}{' with ' if asked else ''}{', '.join(asked)} those of the point"),
            ("point", f"{point.asked}: source {self.source}, LSN {point.lsn}, {clock.to_text(point.time)}"),
            ("live rows read at", f"{read_at} from {shown(self._dsn)}"),
            ("inserts", str(difference.inserted)),
            ("updates", str(difference.updated)),
            ("deletes", str(difference.deleted)),
            *(("NOT CERTAIN", text) for text in self.doubts),
            *(("know", text) for text in live.notes),
        ]

    def _report(self, **found: Any) -> ExcerptReport:
        plan = self.plan
        return ExcerptReport(
            source=self.source,
            point=plan.point,
            target=shown(self._dsn),
            read=BytesRead(plan.checkpoint.size, plan.segments.size),
            not_included=plan.not_included,
            **found,
        )

    @property
    def _dsn(self) -> str:
        assert self.target is not None
        return self.target.value

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        async with connected(self._dsn) as connection:
            yield connection

    async def _look_beside(self, connection: Connection) -> BesideLook:
        try:
            await pin(connection)
            return await look_beside(
                connection,
                self.plan,
                self.excerpt,
                self.tables,
                into_source=self.options.into_source,
                configured=self.options.configured,
            )
        except psycopg.Error as error:
            raise explained(error, "looking at the target") from error

    async def _rows(self, progress: Progress | None) -> Callable[[ExcerptTable], Sequence[TableRows]]:
        only = {oid for each in self.tables for oid in each.oids}
        fold, _ = await fold_changes(self.plan, self.material, self.reader, progress, only=only)
        key = self.plan.checkpoint.key
        return lambda table: [rows_of(fold, each, self.reader.store, key) for each in table.holders if each.mode != "excluded"]

    @asynccontextmanager
    async def _compared(self, say: Callable[[str, int], None]) -> AsyncIterator[tuple[LiveTable, Compared, str]]:
        """The live table, what differs, and when its rows were read."""
        [table] = self.tables
        with OneThread() as thread:
            async with self._connected() as connection:
                async with one_snapshot(connection):
                    live = await look_at(connection, table, self.excerpt, self.plan.captured)
                with closing(comparison_of(live)) as rows:
                    # No transaction is held open at the live server while the journal is read.
                    read = await self._rows(None)
                    await take_past(rows, live, self.excerpt, read(table), thread, say)
                    async with one_snapshot(connection):
                        if (await look_at(connection, table, self.excerpt, self.plan.captured)) != live:
                            raise Refused(f"{live.shown} was altered while rows of the point were read", hint="try again")
                        cursor = await connection.execute(b"SELECT pg_catalog.now()::pg_catalog.text")
                        row = await cursor.fetchone()
                        compared = await take_live(rows, connection, live, self.excerpt, thread, say)
                    yield live, compared, str(row[0]) if row else ""


async def plan_excerpt(
    reader: Reader, source: str, target: Target | None, point: Point, options: Options, excerpt: Excerpt
) -> ExcerptRestoration:
    """What restoring ``excerpt`` of ``source`` at ``point`` would do. Raises as ``plan_restore`` does; ``Invalid`` for tables, columns
    and targets that do not fit.
    """
    if target is not None and target.kind != "database":
        raise Invalid("some tables go into a database only", hint="give --to postgresql://…, or restore all of it into a folder")
    if target is not None and not excerpt.has_destination:
        raise Invalid(
            "it is not said what becomes of the tables", hint="give --into-schema NAME for a new schema, or --merge-script FILE for SQL"
        )
    whole = await plan_restore(reader, source, point)
    material = await gather(whole, reader)
    catalog = material.schema.catalog
    tables = excerpt_tables(excerpt, catalog)
    plan = narrowed(whole, tables, catalog)
    if excerpt.merge_script is not None:
        # Of the live table nothing but rows would change.
        plan = msgspec.structs.replace(plan, not_included=[])
    planned = ExcerptRestoration(source, target, plan, tables, material, reader, options, excerpt)
    if target is not None:
        await planned.look()
    return planned
