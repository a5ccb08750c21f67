"""What one item costs a restore: itself. Everything else comes back, and the report and a file of SQL say what did not."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from archiver.errors import ArchiverError
from archiver.journal.reader import Reader
from archiver.replay.postgres.restore import RestorePlan, RestoreReport, restore_to_database
from tests.integration.capture.postgres.rig import Capture, capture
from tests.integration.replay.postgres.arrange import ask, baseline, plan, quiet, run
from tests.servers.compare import differences
from tests.servers.postgres import PostgresServer


@asynccontextmanager
async def recorded(database: str, before: str, after: str = "", **config: Any) -> AsyncIterator[tuple[Capture, RestorePlan]]:
    """A database made by ``before``, captured as ``config`` says, changed by ``after``, and the plan of its end."""
    run(database, before)
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.3, **config) as made:
        await baseline(made)
        if after:
            run(database, after)
        await quiet(made, database)
        await made.stop()
        yield made, await plan(made, "latest")


async def restore(made: Capture, planned: RestorePlan, target: str, folder: Path, *, strict: bool = False, jobs: int = 1) -> RestoreReport:
    return await restore_to_database(planned, Reader(made.store), made.store, target, strict=strict, left_out=folder, jobs=jobs)


async def refuses(made: Capture, planned: RestorePlan, target: str, folder: Path) -> None:
    """All or nothing is a choice still."""
    with pytest.raises(ArchiverError):
        await restore(made, planned, target, folder, strict=True)
    assert ask(target, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == 0
    assert list(folder.iterdir()) == []


LOOKUP = """
CREATE TABLE zones (code text PRIMARY KEY);
INSERT INTO zones VALUES ('eu'), ('us');
CREATE FUNCTION known_zone(c text) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT EXISTS (SELECT FROM zones WHERE code = c)';
CREATE TABLE agents (id int PRIMARY KEY, zone text NOT NULL CHECK (known_zone(zone)));
INSERT INTO agents VALUES (1, 'eu'), (2, 'us');
"""


async def test_a_check_that_reads_another_table_finds_it_filled(database: str, target_database: str, tmp_path: Path) -> None:
    """By its bare name, as it does for whoever writes at the source; and although the other table is written after it."""
    async with recorded(database, LOOKUP, "INSERT INTO zones VALUES ('ap'); INSERT INTO agents VALUES (3, 'ap')") as (made, planned):
        await refuses(made, planned, target_database, tmp_path)
        report = await restore(made, planned, target_database, tmp_path)
    assert differences(database, target_database) == []
    assert report.problems == []
    assert ["search_path = " in note for note in report.notes] == [True]
    assert list(tmp_path.iterdir()) == []


BARE = """
CREATE FUNCTION norm(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower(btrim(t))';
CREATE FUNCTION slug(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN replace(norm(t), ' ', '-'); END $$;
CREATE TABLE runs (id int PRIMARY KEY, title text);
CREATE INDEX runs_slug ON runs (slug(title));
INSERT INTO runs SELECT g, 'Run ' || g FROM generate_series(1, 20) g;
"""


async def test_an_index_that_the_target_cannot_build_costs_itself(database: str, target_database: str, tmp_path: Path) -> None:
    """Its function needs a ``search_path``, which newer servers do not grant while they build an index."""
    async with recorded(database, BARE) as (made, planned):
        await refuses(made, planned, target_database, tmp_path)
        report = await restore(made, planned, target_database, tmp_path)
    found = differences(database, target_database)
    if report.problems:
        assert [each.name for each in report.left_out] == ["INDEX public.runs_slug"]
        assert found[0] == "only in the first: ('public', 'runs_slug', 'i')"
        assert [text.partition(":")[0] for text in found[1:]] == ["indexes of public.runs_slug"]
        assert "CREATE INDEX runs_slug" in Path(report.left_out_file).read_text()
    else:
        assert found == []


VECTOR = """
CREATE EXTENSION vector;
CREATE TABLE docs (id int PRIMARY KEY, body text, embedding vector(3), stale boolean DEFAULT false);
CREATE FUNCTION mark() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.stale := true; RETURN NEW; END $$;
CREATE TRIGGER docs_stale BEFORE UPDATE ON docs FOR EACH ROW WHEN (OLD.embedding IS DISTINCT FROM NEW.embedding) EXECUTE FUNCTION mark();
INSERT INTO docs SELECT g, 'd' || g, ('[' || g || ',0,1]')::vector FROM generate_series(1, 20) g;
"""


@pytest.mark.postgres(16, 18)  # vector is there
async def test_a_trigger_whose_operator_is_not_the_servers_comes_back(database: str, target_database: str, tmp_path: Path) -> None:
    """Such an operator is written without its schema, where a condition says IS DISTINCT FROM."""
    async with recorded(database, VECTOR, "UPDATE docs SET embedding = '[1,2,3]' WHERE id < 4") as (made, planned):
        await refuses(made, planned, target_database, tmp_path)
        report = await restore(made, planned, target_database, tmp_path)
    assert differences(database, target_database) == []
    assert report.problems == []


BROKEN = """
CREATE TABLE users (id int PRIMARY KEY);
CREATE TABLE runs (id int PRIMARY KEY, user_id int REFERENCES users ON DELETE CASCADE);
CREATE TABLE members (id int PRIMARY KEY, email text);
CREATE UNIQUE INDEX members_email ON members (email);
CREATE TABLE priced (id int PRIMARY KEY, price int CONSTRAINT paid CHECK (price > 0), note text NOT NULL);
COMMENT ON CONSTRAINT paid ON priced IS 'nothing is free';
INSERT INTO users VALUES (1), (2);
INSERT INTO runs VALUES (10, 1), (11, 2);
INSERT INTO priced VALUES (1, 5, 'x');
INSERT INTO members VALUES (1, 'a@example.com'), (2, 'b@example.com');
UPDATE pg_index SET indisready = false WHERE indexrelid = 'members_email'::regclass;
INSERT INTO members VALUES (3, 'a@example.com');
UPDATE pg_index SET indisready = true WHERE indexrelid = 'members_email'::regclass;
"""
BREAK = """
SET session_replication_role = replica; DELETE FROM users WHERE id = 2; RESET session_replication_role;
INSERT INTO members VALUES (4, 'd@example.com');
ALTER TABLE priced DROP CONSTRAINT paid; INSERT INTO priced VALUES (2, -5, 'y');
ALTER TABLE priced ADD CONSTRAINT paid CHECK (price > 0) NOT VALID; COMMENT ON CONSTRAINT paid ON priced IS 'nothing is free';
UPDATE pg_constraint SET convalidated = true WHERE conname = 'paid';
"""


async def test_rows_that_break_constraints_come_back(postgres: PostgresServer, database: str, target_database: str, tmp_path: Path) -> None:
    """Foreign keys and checks as NOT VALID, a unique index is missing; each is named, and the file holds what makes it."""
    async with recorded(database, BROKEN, BREAK) as (made, planned):
        await refuses(made, planned, target_database, tmp_path)
        report = await restore(made, planned, target_database, tmp_path)
    assert sorted(each.name for each in report.left_out) == [
        "CHECK CONSTRAINT public.priced paid",
        "FK CONSTRAINT public.runs runs_user_id_fkey",
        "INDEX public.members_email",
    ]
    with psycopg.connect(database) as source, psycopg.connect(target_database) as target:
        for table in ("users", "runs", "members", "priced"):
            query = f"SELECT * FROM {table} ORDER BY id".encode()
            assert target.execute(query).fetchall() == source.execute(query).fetchall()
    # Once the rows are mended, the file makes the rest.
    run(
        target_database,
        "DELETE FROM runs WHERE user_id = 2", "DELETE FROM members WHERE id = 3", "UPDATE priced SET price = 1 WHERE id = 2",
    )  # fmt: skip
    text = Path(report.left_out_file).read_text()
    assert "a@example.com" not in text
    assert "23503" in text
    command = [str(postgres.bin / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=0", "-f", report.left_out_file, target_database]
    subprocess.run(command, check=True, capture_output=True)
    found = [text.partition(":")[0] for text in differences(database, target_database)]
    assert sorted(found) == ["rows of public.members", "rows of public.priced", "rows of public.runs"]
