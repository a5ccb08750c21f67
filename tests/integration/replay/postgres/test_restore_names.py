"""Names that are hard to tell from what stands beside them, into a database and into a folder."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path

import pytest

from archiver.journal.reader import Reader
from archiver.replay.postgres.restore import restore_to_database, restore_to_folder
from tests.integration.capture.postgres.rig import capture
from tests.integration.replay.postgres.arrange import ask, baseline, plan, quiet, run
from tests.integration.replay.postgres.test_restore_partial import recorded, restore
from tests.servers.compare import differences
from tests.servers.postgres import PostgresServer

_LONG = "\u5217" * 21
"""63 bytes: as long as a name can be."""


@pytest.mark.parametrize(
    "statements",
    [
        # Each begins like the name of a schema that is there already, or is our own.
        ['CREATE SCHEMA "public runs"', 'CREATE TABLE "public runs".runs (id int PRIMARY KEY)'],
        ['CREATE SCHEMA "archiver runs"', 'CREATE TABLE "archiver runs".runs (id int PRIMARY KEY)'],
        [
            f'CREATE SCHEMA "{_LONG}"',
            f'CREATE TABLE "{_LONG}"."{_LONG}" (id int PRIMARY KEY)',
            f'CREATE TABLE "{_LONG}"."{_LONG[1:]}a" (id int PRIMARY KEY)',
            f'INSERT INTO "{_LONG}"."{_LONG}" VALUES (1)',
        ],
    ],
    ids=["like public", "like ours", "long"],
)
@pytest.mark.postgres(16, 18)
async def test_any_name_comes_back(
    postgres: PostgresServer, database: str, target_database: str, tmp_path: Path, statements: list[str]
) -> None:
    """A schema whose name begins with that of another, and names whose escaped form is longer than a file's name may be."""
    run(database, *statements)
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.3) as made:
        await baseline(made)
        await quiet(made, database)
        await made.stop()
        planned = await plan(made, "latest")
        await restore_to_database(planned, Reader(made.store), made.store, target_database)
        assert differences(database, target_database) == []
        await restore_to_folder(planned, Reader(made.store), made.store, tmp_path / "folder")
    with postgres.database() as name:
        command = [str(postgres.bin / "psql"), "-X", "-q", "-f", str(tmp_path / "folder" / "restore.sql"), postgres.dsn(name)]
        subprocess.run(command, check=True, capture_output=True)
        assert differences(database, postgres.dsn(name)) == []


@pytest.mark.postgres(18)
async def test_constraints_that_a_dump_does_not_name(database: str, target_database: str, tmp_path: Path) -> None:
    """The server would take another name for each, since a table that is made before has a constraint of that name."""
    before = [
        'CREATE TABLE root (id int PRIMARY KEY, "a \'b" text NOT NULL) PARTITION BY RANGE (id)',
        "CREATE TABLE a PARTITION OF root FOR VALUES FROM (0) TO (10)",
        'CREATE TABLE "A" PARTITION OF root FOR VALUES FROM (10) TO (20); ALTER TABLE root DETACH PARTITION "A"',
        "CREATE TABLE renamed (id int PRIMARY KEY); ALTER TABLE renamed RENAME TO before; CREATE TABLE renamed (id int PRIMARY KEY)",
        "CREATE TABLE kid (id int CONSTRAINT own_id NOT NULL) INHERITS (renamed)",
        "CREATE TABLE numbered (id int CONSTRAINT numbered_id_not_null1 NOT NULL)",
    ]
    async with recorded(database, "; ".join(before)) as (made, planned):
        report = await restore(made, planned, target_database, tmp_path)
    assert differences(database, target_database) == []
    assert not any("is called" in note for note in report.notes)


@pytest.mark.postgres(18)
async def test_names_in_another_encoding(postgres: PostgresServer, tmp_path: Path) -> None:
    """What comes from the catalog runs in the encoding of the dump, as that itself does."""
    with postgres.database() as name, postgres.database() as target:
        source, fresh = (f"{postgres.dsn(each)}?client_encoding=UTF8" for each in (name, target))
        for each in (name, target):
            made = f"CREATE DATABASE {each} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
            postgres.execute(f"DROP DATABASE {each}", made)
        statements = 'CREATE TABLE "t\u00e4" ("\u00fc" int PRIMARY KEY, v text); CREATE PUBLICATION "p\u00fc" FOR TABLE "t\u00e4" WHERE ("\u00fc" > 1)'
        change = """INSERT INTO "t\u00e4" VALUES (1, '\u00ff')"""
        async with recorded(source, statements, change) as (captured, planned):
            report = await restore(captured, planned, fresh, tmp_path)
        assert report.left_out == []
        assert differences(source, fresh) == []
        assert ask(fresh, "SELECT pubname || ' ' || rowfilter FROM pg_publication_tables WHERE pubname LIKE 'p%'") == (
            'p\u00fc ("\u00fc" > 1)'
        )
