"""A plan -> a database, in one transaction: schema, rows, indexes and constraints, sequences, materialized views, counts, COMMIT."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Collection
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import psycopg
import structlog
from psycopg import sql

from archiver.errors import Bug, Refused, Unavailable
from archiver.postgres.client_programs import find_tools, major_version
from archiver.postgres.lsn import parse_lsn
from archiver.replay.postgres.fold.database import DatabaseFold, Summary
from archiver.replay.postgres.plan.plan import RestoredTable, RestorePlan, RestoreReport
from archiver.replay.postgres.write.dump_script import Script, script_of
from archiver.replay.postgres.write.plan_records import Material, Progress, fold_changes, gather
from archiver.replay.postgres.write.sequence_values import setting
from archiver.replay.postgres.write.table_rows import TableRows, rows_of
from archiver.replay.postgres.write.target_database import Connection, connected, explained, in_the_way, look, pin, shown

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
    pg_bin: str = "",
    configured: Collection[CapturedDatabase] = (),
    progress: Progress | None = None,
) -> RestoreReport:
    """Carry the plan out. On return everything is committed; whatever is raised, cancellation included, the target is as it was.

    Only when the connection is lost during COMMIT nobody knows, and ``Unavailable`` says so.

    ``overwrite`` drops what stands in the way, and nothing that depends on it. ``configured``: what is captured now, beside what the
    archive names. ``progress(step, done, total)``.
    Raises ``Refused`` (own source, older server, missing extensions or roles, something in the way), ``Corrupt``, ``Unavailable``,
    ``Invalid`` for the DSN. Gaps are the caller's to judge.
    """
    restore = _Restore(plan, progress)
    async with connected(dsn) as connection:
        material = await gather(plan, reader)
        script, dropped = await _examine(connection, plan, material, no_owner=no_owner, pg_bin=pg_bin, configured=configured)
        if dropped and not overwrite:
            raise occupied(dropped)
        with restore.timed("read"):
            fold, summary = await fold_changes(plan, material, reader, progress)
        async with _transaction(connection):
            tables = await restore.run(connection, script, material, fold, store, drop=bool(dropped))
        await restore.analyze(connection, tables)
    return restore.report(shown(dsn), summary, dropped)


async def look_at_target(
    plan: RestorePlan,
    reader: Reader,
    dsn: str,
    *,
    no_owner: bool = False,
    pg_bin: str = "",
    configured: Collection[CapturedDatabase] = (),
) -> list[str]:
    """What the target holds already of what the plan creates; nothing is changed. Raises as ``write_database`` would."""
    async with connected(dsn) as connection:
        material = await gather(plan, reader)
        _, found = await _examine(connection, plan, material, no_owner=no_owner, pg_bin=pg_bin, configured=configured)
    return found


async def _examine(
    connection: Connection,
    plan: RestorePlan,
    material: Material,
    *,
    no_owner: bool,
    pg_bin: str,
    configured: Collection[CapturedDatabase],
) -> tuple[Script, list[str]]:
    try:
        await pin(connection)
        target = await look(connection, plan, no_owner=no_owner, configured=configured)
        tools = await asyncio.to_thread(find_tools, dump_version(material) * 10000, pg_bin, program="pg_restore")
        script = await script_of(
            material.dump, tools, server_version=target.server_version, no_owner=no_owner, existing_schemas=target.schemas
        )
        return script, await in_the_way(connection, script)
    except psycopg.Error as error:
        raise explained(error, "looking at the target") from error


def occupied(found: list[str]) -> Refused:
    """What the target holds already stands in the way, and may not be replaced."""
    return Refused(
        f"the target has {len(found)} of the objects already that the restore creates, first {found[0]}",
        hint="restore into an empty database, or replace what is there with --overwrite",
    )


def dump_version(material: Material) -> int:
    """Major version of the pg_dump that wrote the schema: pg_restore must not be older."""
    return major_version(material.schema.dump_version) or material.schema.server_version // 10000


@asynccontextmanager
async def _transaction(connection: Connection) -> AsyncIterator[None]:
    committing = False
    try:
        async with connection.transaction():
            yield
            committing = True
    except psycopg.Error as error:
        # Ended while it waits for a standby, the server has committed too.
        if committing and (error.sqlstate or "57").startswith(("08", "57")):
            raise Unavailable(
                "restoring: the connection was lost while the target was to commit: whether it did is not known",
                hint="look into the target: either all of the restore is there, or nothing was changed",
            ) from error
        raise explained(error, "restoring") from error


class _Restore:
    def __init__(self, plan: RestorePlan, progress: Progress | None) -> None:
        self._plan, self._progress = plan, progress
        self._started = time.monotonic()
        self._steps: dict[str, float] = {}
        self._tables: list[RestoredTable] = []
        self._sequences = self._refreshed = 0
        self._not_valid: list[str] = []
        self._notes: list[str] = []

    def timed(self, step: str) -> _Step:
        return _Step(self._steps, step)

    async def run(
        self, connection: Connection, script: Script, material: Material, fold: DatabaseFold, store: Store, *, drop: bool
    ) -> list[sql.Identifier]:
        """Everything between BEGIN and COMMIT; the names of the tables."""
        with self.timed("schema"):
            if drop:
                await _execute(connection, script.drops, "dropping what is in the way")
            await _execute(connection, script.pre, "creating the schema")
        await pin(connection)
        names = []
        with self.timed("rows"):
            captured = [table for table in material.schema.catalog.tables if table.kind != "p" and table.mode != "excluded"]
            total = sum(line.rows for line in self._plan.tables)
            for table in sorted(captured, key=lambda each: (each.schema, each.name)):
                await self._load(connection, rows_of(fold, table, store), total)
                names.append(sql.Identifier(table.schema, table.name))
        with self.timed("indexes"):
            self._say("building indexes and constraints")
            await _execute(connection, script.post, "creating indexes, constraints and triggers")
        with self.timed("sequences"):
            for statement in setting(material.schema, material.before, material.after, parse_lsn(self._plan.point.lsn)):
                cursor = await connection.execute(statement)
                self._sequences += cursor.rowcount
        with self.timed("views"):
            for view in material.schema.catalog.materialized:
                self._say(f"refreshing {view}")
                await self._refresh(connection, view)
        await _execute(connection, script.last, "creating event triggers")
        with self.timed("verify"):
            await self._verify(connection, names)
        return names

    async def _load(self, connection: Connection, rows: TableRows, total: int) -> None:
        table = rows.table
        done = sum(each.rows for each in self._tables)
        columns = sql.SQL(" ({})").format(sql.SQL(", ").join(sql.Identifier(column.name) for column in rows.columns))
        # FREEZE: nobody else can see the table before COMMIT, and no later VACUUM has to write it again.
        statement = sql.SQL("COPY {}{} FROM STDIN WITH (FREEZE)").format(
            sql.Identifier(table.schema, table.name), columns if rows.columns else sql.SQL("")
        )
        size = 0
        cursor = connection.cursor()
        try:
            async with aclosing(rows.read()) as pieces, cursor.copy(statement) as copy:
                async for piece in pieces:
                    await copy.write(piece)
                    size += len(piece)
                    self._say(f"rows of {table.schema}.{table.name}", done + rows.rows, max(total, done + rows.rows))
        except psycopg.Error as error:
            raise explained(error, f"writing rows of {table.schema}.{table.name}", rows=True) from error
        if cursor.rowcount != rows.rows:
            raise Bug(f"{table.schema}.{table.name}: the server counted {cursor.rowcount} rows, {rows.rows} were sent", hint="report it")
        self._tables.append(RestoredTable(table.schema, table.name, rows.rows, rows.changes, size))

    async def _refresh(self, connection: Connection, view: str) -> None:
        """Its query can need what is not there: another server, or a search_path. The rest of the database does not wait for that."""
        try:
            async with connection.transaction():
                await connection.execute(b"REFRESH MATERIALIZED VIEW " + view.encode())
        except psycopg.Error as error:
            failed = explained(error, f"refreshing {view}")
            if isinstance(failed, Unavailable):
                raise
            _log.warning("view_not_refreshed", source=self._plan.source, view=view, error=failed.message)
            self._notes.append(f"materialized view {view} is left unpopulated, {failed.message}")
        else:
            self._refreshed += 1

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
            " WHERE conrelid = ANY(%s::regclass[]) AND NOT convalidated",
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
            notes=[*self._plan.approximations, *self._notes, *summary.notes],
        )

    def _say(self, step: str, done: int = 0, total: int = 0) -> None:
        if self._progress:
            self._progress(step, done, total)


class _Step:
    """Adds the time spent inside to a step."""

    def __init__(self, steps: dict[str, float], name: str) -> None:
        self._steps, self._name = steps, name

    def __enter__(self) -> None:
        self._started = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._steps[self._name] = self._steps.get(self._name, 0.0) + time.monotonic() - self._started


async def _execute(connection: Connection, script: bytes, doing: str) -> None:
    try:
        await connection.execute(script)
    except psycopg.Error as error:
        statement = _statement(script, error.diag.statement_position)
        raise explained(error, f"{doing}{f': {statement}' if statement else ''}") from error


def _statement(script: bytes, position: str | None) -> str:
    """The line of the script that the server points at; empty when it does not."""
    if not position:
        return ""
    text = script.decode("utf-8", "replace")
    at = min(int(position) - 1, len(text) - 1)
    line = text[text.rfind("\n", 0, at) + 1 :].partition("\n")[0]
    return re.sub(r"\s+", " ", line).strip()[:120]
