"""`show` and `diff` of a row from history files: the answer, and what is not known of it, are those of a fold of the journal."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from typing import Any

import pytest

from archiver.clock import SystemClock
from archiver.errors import ArchiverError
from archiver.history.row_at import RowAt, row_at
from archiver.history.rows import RowRef
from archiver.journal.reader import Reader
from archiver.maintenance.database_history import add_database_history
from archiver.replay.points import parse_point
from archiver.replay.postgres.write.plan_records import fold_changes
from archiver.store.memory import MemoryStore
from tests.integration.capture.postgres.rig import SOURCE, capture
from tests.integration.history.both_ways import CountingStore
from tests.integration.replay.postgres.arrange import baseline, caught_up, quiet, run

pytestmark = pytest.mark.postgres(18)

TABLES = (
    "CREATE TABLE t (id int PRIMARY KEY, a text, big text, n int GENERATED ALWAYS AS (id * 2) STORED)",
    "ALTER TABLE t ALTER big SET STORAGE EXTERNAL",
    "INSERT INTO t SELECT g, E'a\\t' || g, repeat('b', 4000) FROM generate_series(1, 4) g",
    "CREATE TABLE u (id int, part int, note text, PRIMARY KEY (id, part))",
    "INSERT INTO u SELECT g, g % 2, NULL FROM generate_series(1, 4) g",
    "CREATE TABLE loose (id int, a text)",
    "ALTER TABLE loose REPLICA IDENTITY FULL",
    "INSERT INTO loose VALUES (1, 'x'), (2, 'y')",
)
ROWS = (
    "UPDATE t SET a = 'text {number}' WHERE id = {key}",
    "UPDATE t SET big = repeat('c', 3000 + {number}) WHERE id = {key}",
    "UPDATE t SET id = id + 10 WHERE id = {key}",
    "UPDATE t SET id = id - 10 WHERE id = 10 + {key}",
    "DELETE FROM t WHERE id = {key}",
    "INSERT INTO t (id, a) VALUES ({key}, NULL) ON CONFLICT DO NOTHING",
    "UPDATE u SET note = 'n{number}' WHERE id = {key}",
    "DELETE FROM u WHERE id = {key}",
    "INSERT INTO u (id, part) VALUES ({key}, {key} % 2) ON CONFLICT DO NOTHING",
    "UPDATE loose SET a = '{number}' WHERE id = {key}",
)
SHAPES = (
    "ALTER TABLE t ADD COLUMN plus int DEFAULT 7",
    "ALTER TABLE t RENAME COLUMN a TO b; ALTER TABLE t RENAME COLUMN b TO a; TRUNCATE u",
    "ALTER TABLE t DROP COLUMN plus; ALTER TABLE u RENAME TO v; CREATE TABLE u (id int, part int, note text, PRIMARY KEY (id, part))",
    "ALTER TABLE t ALTER a TYPE varchar(200); DROP TABLE u; ALTER TABLE v RENAME TO u",
)
ASKED = [
    *(RowRef("public", "t", {"id": f"{key}"}) for key in (1, 2, 3, 4, 11, 12, 99)),
    *(RowRef("public", "u", {"id": f"{key}", "part": f"{key % 2}"}) for key in (1, 2, 3)),
    RowRef("public", "u", {"part": "1", "id": "1"}),
    RowRef("public", "t", {"a": "text 3"}),
    RowRef("public", "v", {"id": "1", "part": "1"}),
    RowRef("public", "loose", {"id": "1"}),
    RowRef("public", "t", {"plus": "7"}),
]


@pytest.fixture
def slot() -> str:
    return f"archiver_{uuid.uuid4().hex[:12]}"


async def answer(store: MemoryStore, ref: RowRef, point: str) -> RowAt | str:
    """What is known, or why nothing is."""
    try:
        return await row_at(Reader(store), SOURCE, ref, parse_point(point))
    except ArchiverError as error:
        return f"{type(error).__name__}: {error.message} {error.hint}"


async def test_files_answer_as_the_fold_does(database: str, slot: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random changes of rows and of tables; at every point and for every key the same, wherever the files end."""
    folds = Counter[str]()

    async def counted(*args: Any) -> object:
        folds["all"] += 1
        return await fold_changes(*args)

    monkeypatch.setattr("archiver.history.row_at.fold_changes", counted)
    choose = random.Random(5)
    run(database, *TABLES)
    async with capture(database, slot, poll_seconds=0.3) as made:
        await baseline(made)
        points = []
        for shape in ("", *SHAPES):
            if shape:
                run(database, shape)
                points.append(await quiet(made, database))
            for number in range(6):
                change = choose.choice(ROWS).format(key=choose.randint(1, 4), number=number)
                run(database, change)
            points.append(await caught_up(made, database))
        points.append(await quiet(made, database))
        alone, filed = CountingStore(made.store), CountingStore(made.store)
    expected = {(point, str(ref)): await answer(alone, ref, point) for point in points for ref in ASKED}
    known = sum(isinstance(each, RowAt) and each.state is not None for each in expected.values())
    assert known > len(expected) // 4
    assert folds["all"] > known
    done = False
    while not done:
        done = (await add_database_history(Reader(filed), SystemClock(), SOURCE, step_entries=80)).done
        folds.clear()
        for point in points if done else points[:: len(points) // 3]:
            for ref in ASKED if done else ASKED[::3]:
                assert await answer(filed, ref, point) == expected[point, str(ref)], (point, str(ref))
    # Left to it are rows that a change of their table's shape, or what is not known, concerns; tables without a key; other columns.
    assert folds["all"] < sum(isinstance(each, RowAt) for each in expected.values()) / 2
