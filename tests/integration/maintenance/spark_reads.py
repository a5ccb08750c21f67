"""Spark reads from history files what DuckDB, ``deltalake`` and a restore say, with SQL that docs/howto/query-history.md gives.

``make spark`` runs this, with half a gigabyte of Spark and a Java of the machine; ``make test`` does not.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.integration.capture.postgres.rig import capture
from tests.integration.maintenance.outside_readers import delta_rows, digest, query, statement
from tests.integration.maintenance.test_history_files import LATER, brought_out, build, moment, restored
from tests.integration.replay.postgres.agents import CHANGES, FILL, SCHEMA
from tests.integration.replay.postgres.arrange import baseline, caught_up, plan, quiet, run

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
