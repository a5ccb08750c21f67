"""Loading over several connections: the same database, and an honest word when it ends half way."""

from __future__ import annotations

from pathlib import Path

import pytest

from archiver.errors import ArchiverError, Refused
from archiver.journal.reader import Reader
from archiver.replay.postgres.restore import restore_to_database
from archiver.replay.postgres.write.target_preview import preview_target
from tests.integration.replay.postgres.arrange import ask, run
from tests.integration.replay.postgres.test_restore_partial import BREAK, BROKEN, LOOKUP, VECTOR, recorded
from tests.integration.replay.postgres.test_restore_rows import HASHED
from tests.servers.compare import differences

pytestmark = pytest.mark.postgres(16, 18)

_MANY = """
DO $$ BEGIN FOR i IN 1..12 LOOP
    EXECUTE format('CREATE TABLE many_%s (id int PRIMARY KEY, v text UNIQUE, w int)', i);
    EXECUTE format('CREATE INDEX ON many_%s (w)', i);
    EXECUTE format('INSERT INTO many_%s SELECT g, %L || g, g %% 7 FROM generate_series(1, 2000) g', i, 'v');
END LOOP; END $$;
ALTER TABLE many_2 ADD FOREIGN KEY (id) REFERENCES many_1;
CREATE TABLE ranged (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE ranged_1 PARTITION OF ranged FOR VALUES FROM (0) TO (100);
CREATE TABLE ranged_2 PARTITION OF ranged FOR VALUES FROM (100) TO (1000);
CREATE INDEX ON ranged (v);
INSERT INTO ranged SELECT g, 'r' || g FROM generate_series(0, 999) g;
CREATE MATERIALIZED VIEW summed AS SELECT sum(w) FROM many_3;
"""


async def test_it_is_the_same_database(database: str, target_database: str, tmp_path: Path) -> None:
    """Whatever is not taken at once is left to one connection: checks that look elsewhere, rows that hash otherwise, broken constraints."""
    run(target_database, "CREATE TYPE filler AS ENUM ('x', 'y', 'z')", "DROP TYPE filler")
    async with recorded(database, LOOKUP + VECTOR + HASHED + _MANY + BROKEN, BREAK + "DELETE FROM many_4 WHERE id % 2 = 0") as (
        made,
        planned,
    ):
        look = await preview_target(planned, Reader(made.store), target_database, jobs=3)
        report = await restore_to_database(planned, Reader(made.store), made.store, target_database, left_out=tmp_path, jobs=3)
    assert any("over 3 connections, in separate transactions" in note for note in look.notes)
    assert any("over 3 connections, in separate transactions" in note for note in report.notes)
    assert sorted(each.name for each in report.left_out) == [
        "CHECK CONSTRAINT public.priced paid",
        "FK CONSTRAINT public.runs runs_user_id_fkey",
        "INDEX public.members_email",
    ]
    expected = {"only in the first", "indexes of public.members_email", "constraints of public.priced paid"}
    expected |= {"constraints of public.runs runs_user_id_fkey"}
    found = {text.partition(":")[0] for text in differences(database, target_database) if "rows of public.feelings_" not in text}
    assert found == expected
    assert ask(target_database, "SELECT count(*) FROM feelings") == ask(database, "SELECT count(*) FROM feelings")
    assert report.rows == sum(table.rows for table in report.tables)
    assert ask(target_database, "SELECT count(*) FROM many_4") == 1000


async def test_only_into_an_empty_database(database: str, target_database: str, tmp_path: Path) -> None:
    """Not even beside other things, nor with permission to overwrite: then one transaction is the bound of what can go wrong."""
    run(target_database, "CREATE EXTENSION vector")
    async with recorded(database, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)") as (made, planned):
        for other, gone in (("CREATE TABLE other (id int)", "DROP TABLE other"), ("CREATE TYPE e AS ENUM ()", "DROP TYPE e")):
            run(target_database, other)
            with pytest.raises(Refused, match="only into an empty database"):
                await restore_to_database(
                    planned, Reader(made.store), made.store, target_database, jobs=2, overwrite=True, left_out=tmp_path
                )
            run(target_database, gone)
        # Members of extensions may be there: not everybody may make them.
        report = await restore_to_database(planned, Reader(made.store), made.store, target_database, jobs=2, left_out=tmp_path)
    assert report.rows == 1


@pytest.mark.parametrize("strict", [True, False])
async def test_a_failure_says_what_is_there(database: str, target_database: str, tmp_path: Path, strict: bool) -> None:
    """A part is missing, or a constraint is broken where all was asked for: the error names what the target holds."""
    async with recorded(database, _MANY + BROKEN, BREAK) as (made, planned):
        if not strict:
            [*_, part] = sorted([key for key in await made.store.list("parts/") if key])
            await made.store.delete(part)
        with pytest.raises(ArchiverError, match=r"the target has the schema and the rows of \d+ tables") as caught:
            await restore_to_database(planned, Reader(made.store), made.store, target_database, jobs=2, strict=strict, left_out=tmp_path)
    assert caught.value.exit_code not in (2, 3), "those mean that nothing was touched"
    assert "nothing was changed" not in f"{caught.value.message} {caught.value.hint}"
    assert "drop the database" in caught.value.hint
    assert ask(target_database, "SELECT count(*) FROM pg_class WHERE relname = 'many_1'") == 1
