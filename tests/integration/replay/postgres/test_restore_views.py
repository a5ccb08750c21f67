"""Materialized views that cannot be refreshed where they are restored."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path

import psycopg

from archiver.journal.reader import Reader
from archiver.replay.postgres.restore import restore_to_database, restore_to_folder
from tests.integration.capture.postgres.rig import capture
from tests.integration.replay.postgres.arrange import ask, baseline, plan, quiet, run
from tests.servers.compare import differences
from tests.servers.postgres import PostgresServer

_VIEWS = """
CREATE TABLE runs (id int PRIMARY KEY);
INSERT INTO runs VALUES (1), (2);
CREATE FUNCTION here(wanted text) RETURNS int LANGUAGE plpgsql AS $$
BEGIN IF current_database() <> wanted THEN RAISE 'secret %', wanted; END IF; RETURN 1; END $$;
CREATE MATERIALIZED VIEW far AS SELECT public.here('{0}') AS n;
CREATE MATERIALIZED VIEW farther AS SELECT n FROM far;
CREATE MATERIALIZED VIEW near AS SELECT count(*) AS n FROM runs;
"""


def _check(dsn: str) -> None:
    with psycopg.connect(dsn) as session:
        found = session.execute("SELECT matviewname::text, ispopulated FROM pg_matviews ORDER BY 1").fetchall()
        assert found == [("far", False), ("farther", False), ("near", True)]
        assert session.execute("SELECT n FROM near").fetchone() == (2,)


async def test_a_view_that_cannot_be_refreshed_does_not_cost_the_database(
    postgres: PostgresServer, database: str, target_database: str, tmp_path: Path
) -> None:
    """Its query needs what only the source has: it is left as WITH NO DATA leaves it, the report says so, all else is there."""
    run(database, _VIEWS.format(ask(database, "SELECT current_database()")))
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.3) as made:
        await baseline(made)
        await quiet(made, database)
        await made.stop()
        planned = await plan(made, "latest")
        report = await restore_to_database(planned, Reader(made.store), made.store, target_database)
        await restore_to_folder(planned, Reader(made.store), made.store, tmp_path / "folder")
    _check(target_database)
    assert report.materialized == 1
    notes = [note for note in report.notes if "unpopulated" in note]
    assert [note.split(" is left")[0] for note in notes] == ['materialized view "public"."far"', 'materialized view "public"."farther"']
    assert not any("secret" in note for note in notes)
    with postgres.database() as name:
        command = [str(postgres.bin / "psql"), "-X", "-q", "-f", str(tmp_path / "folder" / "restore.sql"), postgres.dsn(name)]
        subprocess.run(command, check=True, capture_output=True)
        _check(postgres.dsn(name))


_CIRCLE = """
CREATE TABLE runs (id int PRIMARY KEY);
INSERT INTO runs VALUES (1);
CREATE VIEW one AS SELECT id FROM runs;
CREATE VIEW other AS SELECT id FROM one;
CREATE OR REPLACE VIEW one AS SELECT id FROM other;
CREATE MATERIALIZED VIEW last AS SELECT 1 AS n;
CREATE MATERIALIZED VIEW first AS SELECT id AS n FROM runs;
CREATE VIEW between AS SELECT n FROM first;
DROP MATERIALIZED VIEW last;
CREATE MATERIALIZED VIEW last AS SELECT n FROM between;
"""


async def test_views_that_read_each_other_do_not_stop_capture(database: str, target_database: str) -> None:
    """The server lets them be made, and says that they cannot be read only when somebody reads them."""
    run(database, _CIRCLE)
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.3) as made:
        await baseline(made)
        await made.stop()
        planned = await plan(made, "latest")
        report = await restore_to_database(planned, Reader(made.store), made.store, target_database)
    assert planned.materialized == ['"public"."first"', '"public"."last"']
    assert report.materialized == 2
    assert differences(database, target_database) == []


_RULED = """
CREATE TABLE notes (id int PRIMARY KEY, who text, v text);
INSERT INTO notes VALUES (1, '{0}', 'b'), (2, 'another', 'a'), (3, 'everyone', 'e');
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON notes USING (who = current_user OR who = 'everyone');
GRANT SELECT ON notes TO {0};
SET ROLE {0}; CREATE MATERIALIZED VIEW {0}.mine AS SELECT id, v FROM public.notes; CREATE UNIQUE INDEX ON {0}.mine (id); RESET ROLE;
"""


async def test_a_view_holds_what_its_owner_may_see(
    postgres: PostgresServer, database: str, target_database: str, tmp_path: Path, mallory: str
) -> None:
    """Not all rows, as the superuser who restores sees them, and not none; in the database and from the folder."""
    run(database, _RULED.format(mallory))
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=0.3) as made:
        await baseline(made)
        run(database, f"INSERT INTO notes VALUES (4, '{mallory}', 'b2'), (5, 'another', 'a2')")
        run(database, f"SET ROLE {mallory}; REFRESH MATERIALIZED VIEW {mallory}.mine; RESET ROLE")
        await quiet(made, database)
        await made.stop()
        planned = await plan(made, "latest")
        report = await restore_to_database(planned, Reader(made.store), made.store, target_database)
        await restore_to_folder(planned, Reader(made.store), made.store, tmp_path / "folder")
    assert [note for note in report.notes if "unpopulated" in note] == []
    assert report.problems == []
    assert differences(database, target_database) == []
    with postgres.database() as name:
        command = [str(postgres.bin / "psql"), "-X", "-q", "-f", str(tmp_path / "folder" / "restore.sql"), postgres.dsn(name)]
        subprocess.run(command, check=True, capture_output=True)
        for dsn in (target_database, postgres.dsn(name)):
            assert ask(dsn, f"SELECT string_agg(id::text, ',' ORDER BY id) FROM {mallory}.mine") == "1,3,4"
