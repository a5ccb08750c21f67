"""Rows that the target puts elsewhere, or does not take."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from archiver.journal.reader import Reader
from archiver.replay.postgres.restore import restore_to_folder
from tests.integration.replay.postgres.arrange import ask, load
from tests.integration.replay.postgres.test_restore_partial import recorded, refuses, restore
from tests.servers.compare import differences
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.postgres(16, 18)

HASHED = """
CREATE TYPE mood AS ENUM ('a', 'b', 'c', 'd', 'e', 'f');
CREATE TABLE feelings (m mood, n int, note text, PRIMARY KEY (m, n)) PARTITION BY HASH (m);
CREATE TABLE feelings_0 PARTITION OF feelings FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE feelings_1 PARTITION OF feelings FOR VALUES WITH (MODULUS 3, REMAINDER 1) PARTITION BY HASH (n);
CREATE TABLE feelings_1a PARTITION OF feelings_1 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE feelings_1b PARTITION OF feelings_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE feelings_2 (note text, n int NOT NULL, m mood NOT NULL);
ALTER TABLE feelings ATTACH PARTITION feelings_2 FOR VALUES WITH (MODULUS 3, REMAINDER 2);
INSERT INTO feelings SELECT m, n, 'note ' || n FROM unnest(enum_range(NULL::mood)) m, generate_series(1, 40) n;
"""


async def test_rows_go_where_the_target_hashes_them(postgres: PostgresServer, database: str, target_database: str, tmp_path: Path) -> None:
    """Values of an enum have other numbers in each database, and so other hashes. Through a folder, too."""
    # An enum of other numbers: what is made before it in the target alone.
    with psycopg.connect(target_database, autocommit=True) as target:
        target.execute("CREATE TYPE filler AS ENUM ('x', 'y', 'z'); DROP TYPE filler")
    async with recorded(database, HASHED, "UPDATE feelings SET note = 'new' WHERE n = 7; DELETE FROM feelings WHERE n = 8") as (
        made,
        planned,
    ):
        await refuses(made, planned, target_database, tmp_path)
        report = await restore(made, planned, target_database, tmp_path)
        folder = await restore_to_folder(planned, Reader(made.store), made.store, tmp_path / "folder")
    assert report.problems == []
    assert "rows of public.feelings, by hash: whoever loads them finds their partitions" in folder.notes
    with postgres.database() as name:
        load(postgres, tmp_path / "folder", name)
        for loaded in (target_database, postgres.dsn(name)):
            with psycopg.connect(database) as source, psycopg.connect(loaded) as target:
                query = "SELECT m::text, n, note FROM feelings ORDER BY 1, 2"
                assert target.execute(query).fetchall() == source.execute(query).fetchall()
    assert report.rows == 6 * 39
    assert any("went through" in note for note in report.notes)


BYTES = r"""
CREATE CAST (bytea AS text) WITHOUT FUNCTION;
CREATE TABLE names (id int PRIMARY KEY, name text);
INSERT INTO names SELECT g, 'name ' || g FROM generate_series(1, 5000) g;
INSERT INTO names VALUES (6000, '\x6e6fff6e'::bytea::text), (6001, '\xc3'::bytea::text);
CREATE TABLE bad (id int PRIMARY KEY, name text);
INSERT INTO bad VALUES (1, '\xff'::bytea::text);
CREATE TABLE good (id int PRIMARY KEY);
INSERT INTO good VALUES (1);
DROP CAST (bytea AS text);
"""


async def test_text_that_is_none_is_set_aside_with_its_bytes(database: str, target_database: str, tmp_path: Path) -> None:
    """Old versions let it in, newer ones do not take it: those rows are counted and kept, all others come back."""
    async with recorded(database, BYTES, "DELETE FROM names WHERE id = 17") as (made, planned):
        await refuses(made, planned, target_database, tmp_path)
        report = await restore(made, planned, target_database, tmp_path)
    assert sorted((each.name, each.rows) for each in report.left_out) == [("public.bad", 1), ("public.names", 2)]
    assert "CharacterNotInRepertoire" in report.left_out[0].reason
    kept = Path(report.left_out_file).read_bytes()
    assert b"6000\tno\xffn\n" in kept
    assert b"6001\t\xc3\n" in kept
    assert ask(target_database, "SELECT count(*) FROM names") == 4999
    assert {f"{table.schema}.{table.name}": table.rows for table in report.tables} == {
        "public.bad": 0,
        "public.good": 1,
        "public.names": 4999,
    }
    assert [text.partition(":")[0] for text in differences(database, target_database)] == ["rows of public.bad", "rows of public.names"]


DOMAINS = """
CREATE DOMAIN positive AS int CONSTRAINT above CHECK (VALUE > 0);
CREATE TABLE parent (id int PRIMARY KEY, n int CONSTRAINT small CHECK (n < 10));
CREATE TABLE child (extra text) INHERITS (parent);
CREATE TABLE counted (id int PRIMARY KEY, p positive, note text NOT NULL);
INSERT INTO parent VALUES (1, 1);
INSERT INTO child VALUES (2, 2, 'x');
INSERT INTO counted VALUES (1, 1, 'x');
"""
BREAK = """
ALTER DOMAIN positive DROP CONSTRAINT above; INSERT INTO counted VALUES (2, -1, 'y'); ALTER DOMAIN positive ADD CONSTRAINT above CHECK (VALUE > 0) NOT VALID;
ALTER TABLE parent DROP CONSTRAINT small; INSERT INTO child VALUES (3, 30, 'y'); ALTER TABLE parent ADD CONSTRAINT small CHECK (n < 10) NOT VALID;
UPDATE pg_constraint SET convalidated = true WHERE conname IN ('above', 'small');
ALTER TABLE counted ALTER note DROP NOT NULL; INSERT INTO counted VALUES (3, 3, NULL);
"""


async def test_checks_of_domains_and_parents_and_nulls_do_not_cost_the_rows(database: str, target_database: str, tmp_path: Path) -> None:
    """Each check is put back where it came from, NOT VALID; a column that holds nulls is left nullable."""
    async with recorded(database, DOMAINS, BREAK) as (made, planned):
        report = await restore(made, planned, target_database, tmp_path)
    assert sorted(each.name for each in report.left_out) == [
        "CHECK CONSTRAINT public.parent small",
        "CHECK CONSTRAINT public.positive above",
    ]
    found = [text for text in differences(database, target_database) if not text.startswith("constraints of public.")]
    assert found == []
    assert (
        ask(target_database, "SELECT string_agg(conname, ' ' ORDER BY conname) FROM pg_constraint WHERE NOT convalidated")
        == "above small small"
    )
