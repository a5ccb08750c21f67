"""A plan -> a database: schema, rows, indexes and constraints, sequences, views, verification; in one transaction unless asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import structlog
from psycopg import sql

from archiver.errors import ArchiverError, Bug
from archiver.postgres.calling_code import PLANNED_TABLES
from archiver.postgres.connecting import OWN_PATH, allow_views
from archiver.postgres.lsn import parse_lsn
from archiver.replay.postgres.fold.database import DatabaseFold, Summary
from archiver.replay.postgres.plan.plan import LeftOutItem, RestoredTable, RestorePlan, RestoreReport
from archiver.replay.postgres.write.blocking_objects import drop_blocking
from archiver.replay.postgres.write.dump_items import Item
from archiver.replay.postgres.write.left_out_file import LeftOutFile, printable
from archiver.replay.postgres.write.parallel_loading import ParallelLoading, partly_done
from archiver.replay.postgres.write.plan_records import PlanRecords, Progress, fold_changes, gather
from archiver.replay.postgres.write.queued_code import refuse_queued
from archiver.replay.postgres.write.row_writer import RowWriter
from archiver.replay.postgres.write.schema_writer import SchemaWriter
from archiver.replay.postgres.write.search_paths import SearchPaths
from archiver.replay.postgres.write.sequence_values import setting
from archiver.replay.postgres.write.table_rows import rows_of
from archiver.replay.postgres.write.target_database import Connection, connected, explained, is_fatal, pin, shown, transaction
from archiver.replay.postgres.write.target_preview import ExaminedTarget, examine_target, occupied

if TYPE_CHECKING:
    from archiver.journal.reader import Reader
    from archiver.postgres.captured_systems import CapturedDatabase
    from archiver.store.protocol import Store

_log = structlog.get_logger()


async def write_database(
    plan: RestorePlan,
    reader: Reader,
    store: Store,
    dsn: str,
    *,
    overwrite: bool = False,
    no_owner: bool = False,
    configured: Collection[CapturedDatabase] = (),
    strict: bool = False,
    left_out: Path | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
) -> RestoreReport:
    """Carry the plan out. On return everything is committed; whatever is raised, cancellation included, the target is as it was.

    Only when the connection is lost during COMMIT nobody knows, and ``Unavailable`` says so. What the target does not take is left out,
    named by the report and written as SQL to a new file in the folder ``left_out``, unless ``strict``, or unless nothing can be made.

    With more than one of ``jobs`` the database must be empty: rows and indexes are committed one by one over so many connections, and
    what is raised after that says what is there.

    ``overwrite`` drops what stands in the way, and nothing that depends on it. ``configured``: what is captured now, beside what the
    archive names. ``progress(step, done, total)``.
    Raises ``Refused`` (own source, older server, missing extensions or roles, something in the way), ``Corrupt``, ``Unavailable``,
    ``Invalid`` for the DSN or the folder. Gaps are the caller's to judge.
    """
    file = LeftOutFile(left_out, plan.source)
    restore = _Restore(plan, file, progress, strict=strict)
    with closing(file):
        async with connected(dsn) as connection:
            material = await gather(plan, reader)
            seen = await examine_target(connection, plan, material, no_owner=no_owner, configured=configured, jobs=jobs)
            if seen.blocking and not overwrite:
                raise occupied([str(each) for each in seen.blocking])
            restore.say_first(seen.notes)
            with restore.timed("read"):
                fold, summary = await fold_changes(plan, material, reader, progress)
            # Checks and materialized views of the database read its views.
            await allow_views(connection)
            load = _Load(connection, seen, material, fold, store)
            if jobs > 1:
                tables = await restore.run_in_parts(load, dsn, jobs)
            else:
                async with transaction(connection):
                    await restore.make_schema(load)
                    tables = await restore.fill(load)
            await restore.analyze(connection, tables)
    return restore.report(shown(dsn), summary, [str(each) for each in seen.blocking])


@dataclass(frozen=True, slots=True)
class _Load:
    """What one restore works on."""

    connection: Connection
    seen: ExaminedTarget
    material: PlanRecords
    fold: DatabaseFold
    store: Store


class _Restore:
    def __init__(self, plan: RestorePlan, file: LeftOutFile, progress: Progress | None, *, strict: bool) -> None:
        self._plan, self._file, self._progress, self._strict = plan, file, progress, strict
        self._started = time.monotonic()
        self._steps: dict[str, float] = {}
        self._tables: list[RestoredTable] = []
        self._schema: SchemaWriter
        self._sequences = self._refreshed = 0
        self._not_valid: list[str] = []
        self._notes: list[str] = []
        self._left_out: list[LeftOutItem] = []
        self._written_to = ""

    def timed(self, step: str) -> _StepTimer:
        return _StepTimer(self._steps, step)

    def say_first(self, notes: Sequence[str]) -> None:
        """What should be known before anything is done; the report has it too."""
        for note in notes:
            _log.warning("before_restore", source=self._plan.source, note=note)
        self._notes += notes

    async def run_in_parts(self, load: _Load, dsn: str, jobs: int) -> list[sql.Identifier]:
        """As ``make_schema`` and ``fill``, with ``jobs`` connections and many transactions."""
        async with transaction(load.connection):
            await self.make_schema(load)
        tables = load.material.schema.catalog.tables
        written: set[int] = set()
        try:
            parallel = ParallelLoading(dsn, jobs, lambda one: self._row_writer(load, one), lambda one: self._schema_writer(load, one))
            with self.timed("rows"):
                await parallel.write_rows(tables, {line.oid: line.size for line in self._plan.tables}, written)
            with self.timed("indexes"):
                self._say("building indexes and constraints")
                filled = {(table.schema, table.name) for table in tables if table.oid in written}
                post = await parallel.build(load.seen.items, filled)
            async with transaction(load.connection):
                names = await self.fill(load, written=written, post=post)
        except ArchiverError as error:
            raise partly_done(error, len(written)) from error
        except asyncio.CancelledError:
            _log.warning("partly_restored", source=self._plan.source, tables=len(written))
            raise
        return names

    def _schema_writer(self, load: _Load, connection: Connection) -> SchemaWriter:
        record = load.material.schema
        written_by = f"written by {record.dump_version} from a server {record.server_version // 10000}.{record.server_version % 10000}"
        alone = connection is not load.connection
        return SchemaWriter(connection, load.seen.items, SearchPaths(connection), strict=self._strict and not alone, written_by=written_by)

    def _row_writer(self, load: _Load, connection: Connection) -> RowWriter:
        total = sum(line.rows for line in self._plan.tables)
        alone = connection is not load.connection
        return RowWriter(
            connection,
            lambda table: rows_of(load.fold, table, load.store, self._plan.checkpoint.key),
            SearchPaths(connection),
            self._file,
            lambda step, done: self._say(step, done, max(total, done)),
            strict=self._strict and not alone,
            restored=self._tables,
        )

    async def make_schema(self, load: _Load) -> None:
        """Everything that rows need; first what is in the way is dropped."""
        self._schema = schema = self._schema_writer(load, load.connection)
        with self.timed("schema"):
            await drop_blocking(load.connection, load.seen.blocking)
            await schema.make(load.seen.items.pre, "creating the schema", together=True)
            await schema.again("creating the schema", last=True)
            if schema.first_error is not None and not schema.made:
                raise explained(schema.first_error, "creating the schema") from schema.first_error
            await refuse_queued(load.connection)

    async def fill(self, load: _Load, *, written: Collection[int] = (), post: Sequence[Item] | None = None) -> list[sql.Identifier]:
        """Rows of tables that are not ``written`` (oids), and what needs rows; the names of the tables. ``post``: what is left of that."""
        connection, items, material, schema = load.connection, load.seen.items, load.material, self._schema
        rows = self._row_writer(load, connection)
        with self.timed("rows"):
            await rows.write(material.schema.catalog.tables, written=written)
        self._tables.sort(key=lambda table: (table.schema, table.name))
        names = [sql.Identifier(table.schema, table.name) for table in self._tables]
        with self.timed("indexes"):
            self._say("building indexes and constraints")
            await schema.make(items.post if post is None else post, "creating indexes, constraints and triggers")
            # Also foreign keys that rows break are done with, in their weaker form.
            await schema.again("creating indexes, constraints and triggers", last=True)
            await schema.make(items.planned, "creating indexes that call functions")
            await schema.again("creating indexes that call functions", last=True)
        by_hand: list[LeftOutItem] = []
        with self.timed("sequences"):
            # Whoever reads rows once policies are there may see fewer of them.
            by_hand += await self._set_sequences(connection, material)
            await schema.make(items.guards, "creating policies and default privileges")
        with self.timed("views"):
            by_hand += await self._refresh(connection, material.schema.catalog.materialized)
        await schema.again("creating the schema", last=True)
        await schema.check_domains("checking domains")
        # Event triggers would see how it is found out.
        await refuse_queued(connection)
        await schema.make(items.last, "creating publications and event triggers")
        await schema.again("creating the schema", last=True, domains=True)
        with self.timed("verify"):
            await self._verify(connection, names)
        before, after = schema.left_out()
        after = [*rows.weaker, *after, *by_hand]
        self._left_out = [*before, *rows.set_aside, *after]
        self._notes += [*schema.notes, *rows.notes]
        title = f"What the restore of {self._plan.source} at {self._plan.point.asked} left out"
        self._written_to = await asyncio.to_thread(self._file.write, title, before, rows.set_aside, after)
        return names

    async def _set_sequences(self, connection: Connection, material: PlanRecords) -> list[LeftOutItem]:
        failed = []
        tables = material.schema.catalog.tables
        names = [table.schema for table in tables], [table.name for table in tables]
        cursor = await connection.execute(PLANNED_TABLES.encode(), names)
        owners = {tables[place - 1].oid: owner for place, owner in await cursor.fetchall()}
        for statement in setting(material.schema, material.before, material.after, parse_lsn(self._plan.point.lsn), owners):
            error = await self._try(connection, statement, "setting sequences", keep=True)
            if error is not None:
                # The server plans with the functions of the table's indexes, and those may need a path to name what they call.
                for path in await SearchPaths(connection).of("public", ""):
                    within = sql.Composed([_path(f"{path}, pg_temp"), statement, sql.SQL("; "), _path(OWN_PATH)])
                    error = await self._try(connection, within, "setting sequences", keep=True)
                    if error is None:
                        break
            if owners:
                await pin(connection)
            if error is not None and self._strict:
                raise error
            if error is None:
                self._sequences += 1
            else:
                failed.append(LeftOutItem("value of a sequence", error.message, statement.as_string(connection) + ";\n"))
        return failed

    async def _refresh(self, connection: Connection, views: Sequence[str]) -> list[LeftOutItem]:
        """Its query can need what is not there: another server, or a search_path. The rest of the database does not wait for that."""
        failed: dict[str, ArchiverError] = {}
        waiting = list(views)
        while waiting:
            before, failed = len(waiting), {}
            for view in waiting:
                self._say(f"refreshing {view}")
                error = await self._try(connection, sql.SQL("REFRESH MATERIALIZED VIEW ") + sql.SQL(view), f"refreshing {view}", keep=True)
                if error is None:
                    self._refreshed += 1
                else:
                    failed[view] = error
            waiting = list(failed)
            if len(waiting) == before:
                break
        for view, error in failed.items():
            _log.warning("view_not_refreshed", source=self._plan.source, view=view, error=error.message)
            self._notes.append(f"materialized view {view} is left unpopulated, {error.message}")
        return (
            []
            if self._strict
            else [
                LeftOutItem(
                    f"rows of MATERIALIZED VIEW {view}", f"left unpopulated, {error.message}", f"REFRESH MATERIALIZED VIEW {view};\n"
                )
                for view, error in failed.items()
            ]
        )

    async def _try(self, connection: Connection, statement: sql.Composable, doing: str, *, keep: bool = False) -> ArchiverError | None:
        """Run it under a savepoint of its own. Raises what is fatal, and where strict everything unless ``keep``."""
        try:
            async with connection.transaction():
                await connection.execute(sql.Composed([statement]))
        except psycopg.Error as error:
            failed = explained(error, doing)
            if is_fatal(failed) or (self._strict and not keep):
                raise failed from error
            return failed
        return None

    async def _verify(self, connection: Connection, tables: list[sql.Identifier]) -> None:
        """Indexes usable, constraints as at the source."""
        names = [table.as_string(None) for table in tables]
        cursor = await connection.execute(
            "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class c ON c.oid = indexrelid"
            " WHERE indrelid = ANY(%s::regclass[]) AND c.relkind = 'i' AND NOT (indisvalid AND indisready)",
            (names,),
        )
        broken = [str(name) for (name,) in await cursor.fetchall()]
        if broken:
            raise Bug(f"indexes are not valid after the restore: {', '.join(broken)}", hint="report it")
        cursor = await connection.execute(
            "SELECT conrelid::regclass::text || ' ' || conname FROM pg_constraint"
            " WHERE conrelid = ANY(%s::regclass[]) AND NOT convalidated ORDER BY 1",
            (names,),
        )
        self._not_valid = [str(name) for (name,) in await cursor.fetchall()]

    async def analyze(self, connection: Connection, tables: list[sql.Identifier]) -> None:
        """Statistics, after COMMIT: the restore is done without them."""
        with self.timed("analyze"):
            self._say("collecting statistics")
            try:
                if tables:
                    await connection.execute(sql.SQL("ANALYZE {}").format(sql.SQL(", ").join(tables)))
            except psycopg.Error as error:
                self._notes.append(f"ANALYZE failed ({type(error).__name__}): run it yourself")

    def report(self, target: str, summary: Summary, dropped: list[str]) -> RestoreReport:
        seconds = time.monotonic() - self._started
        rows = sum(table.rows for table in self._tables)
        _log.info("database_restored", source=self._plan.source, tables=len(self._tables), rows=rows, seconds=round(seconds, 3))
        return RestoreReport(
            source=self._plan.source,
            point=self._plan.point,
            target=target,
            tables=self._tables,
            rows=rows,
            sequences=self._sequences,
            materialized=self._refreshed,
            dropped=dropped,
            constraints_not_valid=self._not_valid,
            seconds=seconds,
            steps=self._steps,
            notes=[*self._plan.approximations, *self._plan.otherwise, *self._notes, *summary.notes],
            not_included=self._plan.not_included,
            left_out=[printable(each) for each in self._left_out],
            left_out_file=self._written_to,
        )

    def _say(self, step: str, done: int = 0, total: int = 0) -> None:
        if self._progress:
            self._progress(step, done, total)


class _StepTimer:
    """Adds the time spent inside to a step."""

    def __init__(self, steps: dict[str, float], name: str) -> None:
        self._steps, self._name = steps, name

    def __enter__(self) -> None:
        self._started = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._steps[self._name] = self._steps.get(self._name, 0.0) + time.monotonic() - self._started


def _path(path: str) -> sql.Composed:
    return sql.SQL("SELECT pg_catalog.set_config('search_path', {}, true); ").format(sql.Literal(path))
