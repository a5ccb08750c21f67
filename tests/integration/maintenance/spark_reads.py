"""Spark reads from history files what DuckDB, ``deltalake`` and a restore say, with SQL that docs/howto/query-history.md gives; and it computes
checkpoints a second way, as DuckDB does.

``make spark`` runs this, with half a gigabyte of Spark and a Java of the machine; ``make test`` does not.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sysconfig
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest

from archiver.journal.reader import Reader
from archiver.maintenance.proof.proving import prove
from archiver.maintenance.proof.statement import Sample
from tests.integration.capture.postgres.rig import Capture, capture
from tests.integration.maintenance.outside_readers import delta_rows, digest, query, statement
from tests.integration.maintenance.test_history_files import LATER, brought_out, build, moment, restored
from tests.integration.maintenance.test_proving import TRAPS, altered, changed, folded
from tests.integration.replay.postgres.agents import CHANGES, FILL, SCHEMA
from tests.integration.replay.postgres.arrange import baseline, caught_up, plan, quiet, run

SITE = sysconfig.get_path("purelib")
ROOT = str(Path(__file__).parents[3])

pytestmark = [pytest.mark.postgres(18), pytest.mark.timeout(900)]

ANSWERS = Path(__file__).with_name("spark_answers.py")
ALL = "SELECT source, name, relation, key, position, operation, weight, row, old, unchanged, xid, commit_lsn, entry FROM history"


def spark(table: Path, *questions: tuple[str, str, str]) -> list[list[list[Any]]]:
    """What Spark answers, in a process of its own."""
    command = [os.environ["SPARK_PYTHON"], str(ANSWERS), str(table)]
    done = subprocess.run(command, input=json.dumps(questions), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    found: list[list[list[Any]]] = json.loads(done.stdout)
    return found


async def test_spark_reads_what_a_restore_brings_back(database: str, tmp_path: Path) -> None:
    """All records to the same digest, and the rows of every table at several moments, before and after tables were dropped and renamed."""
    run(database, SCHEMA, FILL)
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.3) as made:
        await baseline(made)
        points = []
        for change in CHANGES:
            await asyncio.to_thread(run, database, change)
            points.append(await caught_up(made, database))
        points = [points[len(points) // 2], await quiet(made, database)]
        await asyncio.to_thread(run, database, *LATER)
        await quiet(made, database)
        run(database, "DELETE FROM forebear WHERE id = 1", "UPDATE events SET body = 'last' WHERE n = 2")
        points.append(await caught_up(made, database))
        await build(made, 40, fan=3)
        table = await brought_out(made, tmp_path)
        planned = [await plan(made, point) for point in points]
        expected = [await restored(made, each) for each in planned]

    sql = statement("Rows of a table as of a moment, in Spark")
    questions = [
        (sql, name, moment(each).strftime("%Y-%m-%d %H:%M:%S.%f"))
        for each, tables in zip(planned, expected, strict=True)
        for name in tables
    ]
    everything, *rows = await asyncio.to_thread(spark, table, (ALL, "", "2000-01-01"), *questions)
    by_duckdb = query(table, ALL)
    columns = [part.strip() for part in ALL.removeprefix("SELECT ").removesuffix(" FROM history").split(",")]
    by_delta = [[record[name] for name in columns] for record in delta_rows(table)]
    assert digest(everything) == digest(map(list, by_duckdb)) == digest(by_delta)
    assert len(everything) > 300
    found = [digest(json.loads(row) for _, row in answer) for answer in rows]
    assert found == [wanted for tables in expected for wanted in tables.values()]


async def test_spark_proves_a_checkpoint_as_duckdb_does(database: str, tmp_path: Path) -> None:
    """The same digest of every table by DuckDB, by Spark and from the checkpoint's own rows; and one value that was altered."""
    run(database, SCHEMA, FILL, *TRAPS[:3])
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.3) as made:
        await baseline(made)
        await changed(made, database)
        checkpoint = await folded(made)
        wrong = await altered(made, checkpoint, "docs", b"\tlast\tshort", b"\tlast\tshore")
        by_duckdb = [proof async for proof in prove(Reader(made.store), [], Sample())]
        for number, each in enumerate((made, wrong)):
            await asyncio.to_thread(brought_to, each, tmp_path / str(number))
    found = await asyncio.to_thread(proved, tmp_path / "0")
    assert found == (0, [msgspec.to_builtins(proof) for proof in by_duckdb])
    code, proofs = await asyncio.to_thread(proved, tmp_path / "1")
    assert (code, [proof["table"] for proof in proofs if proof["differs"]]) == (7, ["public.docs"])


def brought_to(made: Capture, folder: Path) -> None:
    """The archive as files."""
    for key in made.store.names(""):
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(made.store.peek(key) or b"")


def proved(folder: Path) -> tuple[int, Any]:
    """Exit code and answer of the command with Spark, in a Python that has both."""
    command = [os.environ["SPARK_PYTHON"], "-m", "archiver", "maintain", "--prove", "--engine", "spark", "--master", "local[2]", "--json"]
    (folder.parent / "settings.yaml").write_text(f"archive: {{url: 'file://{folder}'}}\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([ROOT, SITE]), "ARCHIVER_CONFIG": str(folder.parent / "settings.yaml")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode in (0, 7), done.stderr[-4000:]
    return done.returncode, json.loads(done.stdout)
