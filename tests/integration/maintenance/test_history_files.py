"""History files of a real source: others' engines read from them what a restore brings back, and all that the journal says."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from archiver.cli.verify import LEVELS
from archiver.clock import SystemClock
from archiver.journal.keys import HISTORY, history_commit_prefix, history_counts_key, history_prefix
from archiver.journal.reader import Reader
from archiver.journal.verifier import CheckedHistory
from archiver.journal.verify_levels import Level
from archiver.lake.delta_log import TableState
from archiver.lake.history_table import TableWriter, open_file, read_groups, read_table
from archiver.maintenance.database_history import add_database_history
from archiver.maintenance.history_checking import check_history
from archiver.maintenance.history_compaction import compact, sweep
from archiver.maintenance.history_log import shorten_log
from archiver.maintenance.history_step import HistoryStep
from archiver.replay.postgres.columnar.copy_text import unescape
from archiver.replay.postgres.decode.pgoutput import UNCHANGED, Unchanged, Value
from archiver.replay.postgres.decode.row_log import RowLog
from archiver.replay.postgres.plan.plan import RestorePlan
from archiver.replay.postgres.write.plan_records import fold_changes, gather
from archiver.replay.postgres.write.table_rows import rows_of
from archiver.store.directory import DirectoryStore
from archiver.store.memory import MemoryStore
from tests.integration.capture.postgres.recorded import schemas
from tests.integration.capture.postgres.rig import SOURCE, Capture, capture
from tests.integration.maintenance.outside_readers import asking, delta_rows, digest, query, records, statement
from tests.integration.replay.postgres.agents import CHANGES, FILL, SCHEMA
from tests.integration.replay.postgres.arrange import baseline, caught_up, plan, quiet, run
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.postgres(18)


LATER = (
    "DROP TABLE lines",
    "CREATE TABLE lines (id int PRIMARY KEY, other text)",
    "INSERT INTO lines VALUES (1, 'of another table')",
    "DROP TABLE child",
    "ALTER TABLE parent RENAME TO forebear",
    "INSERT INTO forebear VALUES (7, 'renamed')",
    "TRUNCATE events",
    "INSERT INTO events VALUES (1, 2, 'again')",
)
"""What changes tables themselves."""


@pytest.fixture
def slot() -> str:
    return f"archiver_{uuid.uuid4().hex[:12]}"


async def build(made: Capture, step_entries: int = 1_000_000, *, fan: int = 0, keep_seconds: float = 0) -> list[HistoryStep]:
    """Every step until nothing is left; with ``fan``, files are merged and those replaced ``keep_seconds`` ago deleted on the way."""
    steps = list[HistoryStep]()
    while not steps or not steps[-1].done:
        steps.append(await add_database_history(Reader(made.store), SystemClock(), SOURCE, step_entries=step_entries))
        if fan:
            while await compact(Reader(made.store), SystemClock(), SOURCE, fan=fan) is not None:
                await sweep(Reader(made.store), SystemClock(), SOURCE, keep_seconds=keep_seconds)
            await shorten_log(Reader(made.store), SystemClock(), SOURCE, every=fan)
    return steps


async def brought_out(made: Capture, folder: Path) -> Path:
    """The Delta table in a folder, for readers that know no archive."""
    store = DirectoryStore(folder)
    for key in await made.store.list(HISTORY):
        await store.put_if_absent(key, await made.store.get(key) or b"")
    return folder / history_prefix(SOURCE)


async def restored(made: Capture, planned: RestorePlan) -> dict[str, str]:
    """Digest of the rows of every table at a point, as a restore brings them back."""
    reader = Reader(made.store)
    material = await gather(planned, reader)
    fold, _ = await fold_changes(planned, material, reader)
    found = {}
    for table in material.schema.catalog.tables:
        if table.kind != "p" and table.mode != "excluded":
            output = rows_of(fold, table, made.store)
            names = [column.name for column in output.columns]
            lines = b"".join([bytes(piece) async for piece in output.read()]).splitlines()
            found[f"{table.schema}.{table.name}"] = digest(_row(names, line) for line in lines)
    return found


def moment(planned: RestorePlan) -> datetime:
    """The time of a point, behind its last transaction."""
    return datetime.fromtimestamp(planned.point.time / 1e6, UTC)


async def test_rows_as_of_a_moment_are_those_of_a_restore(database: str, slot: str, tmp_path: Path) -> None:
    """Tables with a key, without one and with the whole row as identity, at several moments, read with DuckDB as the howto says."""
    run(database, SCHEMA, FILL)
    async with capture(database, slot, poll_seconds=0.3) as made:
        await baseline(made)
        points = []
        for change in CHANGES:
            await asyncio.to_thread(run, database, change)
            points.append(await caught_up(made, database))
        points = [*points[:: max(1, len(points) // 4)], await quiet(made, database)]
        await asyncio.to_thread(run, database, *LATER)
        await quiet(made, database)
        run(database, "DELETE FROM forebear WHERE id = 1", "UPDATE events SET body = 'last' WHERE n = 2")
        points.append(await caught_up(made, database))
        steps = await build(made, 40, fan=3)
        assert len(steps) > 2
        table = await brought_out(made, tmp_path)
        sql = statement("Rows of a table as of a moment")
        with asking(table) as ask:
            for point in points:
                planned = await plan(made, point)
                expected = await restored(made, planned)
                rows = {name: ask(sql, name=name, moment=moment(planned)) for name in expected}
                found = {name: digest(json.loads(row) for _, row in each) for name, each in rows.items()}
                assert found == expected, (point, [name for name in expected if found[name] != expected[name]])
            gone = {"public.parent", "public.child"} - expected.keys()
            assert [ask(sql, name=name, moment=moment(planned)) for name in gone] == [[]] * 2
            ((view,),) = ask(statement("Values with the types of the source"), name="public.runs")
            values = [(json.loads(row), found) for row, found in ask(f"SELECT row, typed FROM ({view})")]
            assert sorted(values[0][1]) == ["agent_id", "amount", "at", "delivery", "id", "ratio", "raw", "touched"]
            assert {found["id"] for _, found in values} == {int(text["id"]) for text, _ in values}
            for name, read in (
                ("amount", Decimal),
                ("ratio", float),
                ("agent_id", uuid.UUID),
                ("raw", lambda text: bytes.fromhex(text[2:])),
            ):
                fitting = [(read(text[name]), found[name]) for text, found in values if text.get(name) not in (None, "NaN", "Infinity")]
                assert fitting, name
                assert all(one == other for one, other in fitting), name


async def journaled(made: Capture, name: str) -> list[dict[str, Any]]:
    """All changes of the table, decoded from the journal one relation at a time, as history files should have them."""
    placed = await made.placed()
    (oid,) = {table.oid for schema in await schemas(made) for table in schema.catalog.tables if f"{table.schema}.{table.name}" == name}
    log = RowLog(oid)
    changes = [change for each in placed if each.run.source == SOURCE for change in log.feed(each)] + log.finish()
    return [
        {
            "operation": change.action,
            "commit": [change.commit.xid, change.commit.time, change.commit.commit_lsn, change.commit.end_lsn, change.commit.seq],
            "entry": change.seq,
            "old": _text(change.old),
            "row": _text(change.new),
            "unchanged": sorted(column for column, value in (change.new or {}).items() if value is UNCHANGED) or None,
        }
        for change in changes
    ]


def _text(row: Mapping[str, Value] | None) -> dict[str, str | None] | None:
    if row is None:
        return None
    return {column: None if value is None else value.decode() for column, value in row.items() if not isinstance(value, Unchanged)}


def filed(rows: Iterable[Mapping[str, Any]], name: str) -> list[dict[str, Any]]:
    """The same from records of history files."""
    return [
        {
            "operation": row["operation"],
            "commit": [
                row["xid"],
                int(row["committed"].timestamp() * 1e6 + 0.5),
                row["commit_lsn"],
                row["end_lsn"],
                row["commit_entry"],
            ],
            "entry": row["entry"],
            "old": json.loads(row["old"]) if row["old"] else None,
            "row": json.loads(row["row"]) if row["row"] else None,
            "unchanged": sorted(row["unchanged"]) if row["unchanged"] else None,
        }
        for row in rows
        if row["name"] == name and row["operation"] in ("insert", "update", "delete", "truncate")
    ]


async def test_all_changes_are_those_of_the_journal(start_postgres: Callable[..., PostgresServer], slot: str, tmp_path: Path) -> None:
    """DuckDB, deltalake and the journal give the same changes, of transactions that are long, streamed, partly rolled back and cut by steps."""
    server = start_postgres(18, {"logical_decoding_work_mem": "64kB"})
    dsn = server.dsn()
    run(dsn, "CREATE TABLE t (id bigint PRIMARY KEY, note text)", "ALTER TABLE t ALTER note SET STORAGE EXTERNAL")
    run(dsn, "INSERT INTO t SELECT g, repeat('x', 3000) FROM generate_series(1, 10) g")
    async with capture(dsn, slot) as made:
        await baseline(made)
        with psycopg.connect(dsn) as session:
            session.execute("INSERT INTO t SELECT g, 'long ' || repeat('y', 100) FROM generate_series(1001, 4000) g")
            session.execute("SAVEPOINT s")
            session.execute("INSERT INTO t SELECT g, 'never' FROM generate_series(5001, 6000) g")
            session.execute("ROLLBACK TO s")
            steps = []
            for number in range(3):
                run(dsn, f"UPDATE t SET id = id + 100 WHERE id = {number + 1}", f"DELETE FROM t WHERE id = {number + 5}")
                await caught_up(made, dsn)
                steps += await build(made)
            session.commit()
        run(dsn, "UPDATE t SET id = -id WHERE id < 1009", "TRUNCATE t", "INSERT INTO t VALUES (77, NULL)")
        await caught_up(made, dsn)
        steps += await build(made)
        assert sum(step.records > 0 for step in steps) >= 4
        table = await brought_out(made, tmp_path)
        expected = await journaled(made, "public.t")
        assert len(expected) > 3000
        assert any(change["unchanged"] for change in expected)
        by_delta = delta_rows(table)
        columns = list(by_delta[0])
        by_duckdb = [dict(zip(columns, row, strict=True)) for row in query(table, "SELECT * FROM history ORDER BY position")]
        assert digest(filed(by_delta, "public.t")) == digest(filed(by_duckdb, "public.t")) == digest(expected)
        in_order = [(change["entry"]) for change in filed(by_duckdb, "public.t")]
        assert in_order == [change["entry"] for change in expected]
        assert len(records(table)) == len(by_delta)


async def test_whoever_is_killed_or_late_leaves_whole_files(database: str, slot: str, tmp_path: Path) -> None:
    """Killed at any write, the log names whole files, and the next round ends with the same records; of two at once one publishes."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t SELECT g, 'old' FROM generate_series(1, 50) g")
    async with capture(database, slot) as made:
        await baseline(made)
        for number in range(4):
            run(database, f"UPDATE t SET v = '{number}' WHERE id <= 20")
            await caught_up(made, database)
        await made.stop()
    whole = copied(made)
    await build(whole, 10)
    expected = await contents(whole, tmp_path / "whole")
    merged = copied(made)
    await build(merged, 10, fan=2)
    assert await contents(merged, tmp_path / "merged") == expected
    files = [len(list((tmp_path / name / history_prefix(SOURCE)).glob("*.parquet"))) for name in ("whole", "merged")]
    log = [key.rpartition("/")[2] for key in await merged.store.list(history_commit_prefix(SOURCE))]
    beside = [key for key in await merged.store.list(HISTORY) if "/_counts/" in key]
    assert beside == sorted(history_counts_key(SOURCE, path) for path in (await read_table(merged.store, SOURCE)).files)
    # What deltalake read began with a checkpoint: the first commits are gone.
    assert any(name.endswith(".checkpoint.parquet") for name in log)
    assert f"{0:020d}.json" not in log
    assert files[0] > 3
    assert files[1] < 3
    for writes in range(1, 150, 3):
        broken = copied(made)
        broken.store = DyingStore(broken.store, writes)
        try:
            await build(broken, 10, fan=2)
        except Killed:
            broken.store = broken.store.inner
        else:
            break
        if await read_table(broken.store, SOURCE) != TableState():
            await brought_out(broken, tmp_path / f"{writes}")
            assert digest(map(str, delta_rows(tmp_path / f"{writes}" / history_prefix(SOURCE))))
        await build(broken, 30, fan=3)
        assert await contents(broken, tmp_path / f"{writes}-then") == expected
    else:
        raise AssertionError("it never ended")
    twice = copied(made)
    # Each deletes only what nobody can be reading any more.
    await asyncio.gather(build(twice, 10, fan=2, keep_seconds=600), build(twice, 30, fan=2, keep_seconds=600))
    assert await contents(twice, tmp_path / "twice") == expected
    for key in await twice.store.list(HISTORY):
        await twice.store.delete(key)
    await build(twice)
    assert await contents(twice, tmp_path / "anew") == expected


async def test_verify_says_what_is_not_what_the_journal_gives(database: str, slot: str) -> None:
    """A file that is missing, cut short, altered within, or forged as a whole with its commit: each from the level on that looks there."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t SELECT g, 'old' FROM generate_series(1, 50) g")
    async with capture(database, slot) as made:
        await baseline(made)
        for number in range(3):
            run(database, f"UPDATE t SET v = '{number}' WHERE id <= 20")
            await caught_up(made, database)
        await made.stop()
    await build(made, 40)
    state = await read_table(made.store, SOURCE)
    steps = [await checked(made, "all", turn) for turn in range(10)]
    assert [each.bad for each in steps] == [[]] * 10
    assert len({each.compared for each in steps}) > 1
    assert {each.groups_left for each in steps} == {0}
    share = [await checked(made, "share", turn) for turn in range(30)]
    assert sum(each.groups for each in share) == steps[0].groups
    assert [(each.bad, bool(each.compared)) for each in share] == [([], True)] * 30
    named = await checked(made, "names", 0)
    assert (named.files, named.groups, named.compared, named.bad) == (len(state.files), 0, "", [])
    path = next(iter(state.files))
    whole = made.store.peek(history_prefix(SOURCE) + path) or b""
    middle = bytes([*whole[:10], whole[10] ^ 1, *whole[11:]])
    footer = bytes([*whole[:-9], whole[-9] ^ 1, *whole[-8:]])
    for data, found in ((None, 4), (whole[:-1], 4), (footer, 3), (middle, 1)):
        damaged = copied(made, history=True)
        await damaged.store.delete(history_prefix(SOURCE) + path)
        if data is not None:
            damaged.store.create(history_prefix(SOURCE) + path, data)
        bad = [(await checked(damaged, level, 7)).bad for level in LEVELS if level != "share"]
        assert [bool(each) for each in bad] == [found > 3, found > 2, True], data
        assert all(each[0].key.endswith(path) for each in bad if each)
    counts = history_counts_key(SOURCE, path)
    for beside in (None, (made.store.peek(counts) or b"")[:-1]):
        damaged = copied(made, history=True)
        await damaged.store.delete(counts)
        if beside is not None:
            damaged.store.create(counts, beside)
        told_of = [[each.reason for each in (await checked(damaged, level, 7)).bad] for level in ("names", "hashes", "all")]
        assert told_of == [[], *([[f"counts {counts} are missing or damaged"]] * 2)]
    forged = copied(made, history=True)
    file = await open_file(forged.store, SOURCE, path, state)
    records = await read_groups(forged.store, file, list(range(file.count)))
    rows = [(row or "").replace("old", "new").replace("0", "1") or None for row in records["row"].to_pylist()]
    writer = TableWriter(forged.store, SystemClock(), SOURCE)
    await writer.add([records.set_column(records.schema.get_field_index("row"), "row", pa.array(rows, pa.string()))])
    assert state.progress is not None
    assert await writer.commit(state, state.progress, [path])
    assert (await checked(forged, "hashes", 0)).bad == []
    told = [each.reason for turn in range(len(state.files) + 1) for each in (await checked(forged, "all", turn)).bad]
    assert any("are not what the journal gives" in text for text in told)
    assert any("are missing" in text for text in told)


async def checked(made: Capture, level: Level, turn: int) -> CheckedHistory:
    """The report."""
    (found,) = await check_history(Reader(made.store), level=level, turn=turn)
    return found


async def test_the_command_says_what_it_did(database: str, slot: str, tmp_path: Path) -> None:
    """One line for each step, as a table and as JSON; `log` answers from files that were damaged as from the journal."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT generate_series(1, 9)")
    async with capture(database, slot) as made:
        await baseline(made)
        run(database, "DELETE FROM t WHERE id = 3")
        await caught_up(made, database)
        store = DirectoryStore(tmp_path)
        for key in await made.store.list(""):
            await store.put_if_absent(key, await made.store.get(key) or b"")

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "archiver", "--archive", tmp_path.as_uri(), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    written = json.loads((await asyncio.to_thread(call, "maintain", "--history", "--json")).stdout)
    assert [(each["source"], each["done"], each["reason"]) for each in written] == [(SOURCE, True, "")]
    assert written[0]["records"] >= 11
    log = ("log", "--source", SOURCE, "--table", "t", "--key", "id=3", "--json")
    answer = (await asyncio.to_thread(call, *log)).stdout
    assert [each["event"] for each in json.loads(answer)] == ["BASELINE", "DELETE"]
    assert "up to entry" in (await asyncio.to_thread(call, "maintain", "--history")).stdout
    wrong = await asyncio.to_thread(call, "maintain", "--history", "--source", "none")
    assert (wrong.returncode, "the archive has no source 'none'" in wrong.stderr) == (2, True)
    (file,) = (tmp_path / history_prefix(SOURCE)).glob("*.parquet")
    whole = file.read_bytes()
    assert "compared with the journal: entries" in (await asyncio.to_thread(call, "verify")).stdout
    for damaged in (whole[:-2000] + bytes(1900) + whole[-100:], whole[:30] + b"?" + whole[31:]):
        file.write_bytes(damaged)
        done = await asyncio.to_thread(call, *log)
        assert done.stdout == answer
        assert "history_files_passed_over" in done.stderr
    bad = await asyncio.to_thread(call, "verify", "--json")
    assert (bad.returncode, [each["key"] for each in json.loads(bad.stdout)["history"][0]["bad"]]) == (
        7,
        [history_prefix(SOURCE) + file.name],
    )
    assert "writes anew what the journal has" in bad.stderr


async def contents(made: Capture, folder: Path) -> str:
    """Digest of all records that the log names."""
    return digest(str(row) for row in delta_rows(await brought_out(made, folder)))


def copied(made: Capture, *, history: bool = False) -> Capture:
    """The same journal, without history files unless they are asked for."""
    store = MemoryStore()
    for key in made.store.names(""):
        if history or not key.startswith(HISTORY):
            store.create(key, made.store.peek(key) or b"")
    return Capture(made.dsn, made.slot, store)


class Killed(BaseException):
    """The program was killed here."""


class DyingStore(MemoryStore):
    """Dies at a put or a delete: at every other one after it was done."""

    def __init__(self, inner: MemoryStore, writes: int) -> None:
        super().__init__()
        self.inner, self._left, self._late = inner, (writes + 1) // 2, writes % 2
        self._objects, self._keys = inner._objects, inner._keys

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        self._left -= 1
        if not self._left and not self._late:
            raise Killed
        done = await super().put_if_absent(key, data)
        if not self._left:
            raise Killed
        return done

    async def delete(self, key: str) -> None:
        self._left -= 1
        if not self._left:
            raise Killed
        await super().delete(key)


def _row(names: list[str], line: bytes) -> dict[str, str | None]:
    values = [unescape(text) for text in line.split(b"\t")] if names else []
    return {name: None if value is None else value.decode() for name, value in zip(names, values, strict=True)}
