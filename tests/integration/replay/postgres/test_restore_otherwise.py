"""What comes back in another way than the rest: extensions by version and schema, publications, views, the order of columns."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.preflight.preflight import preflight
from archiver.capture.postgres.session.access import Access
from archiver.errors import Refused
from archiver.journal.reader import Reader
from archiver.replay.postgres.restore import restore_to_folder
from archiver.replay.postgres.write.target_preview import preview_target
from tests.integration.capture.postgres.rig import capture
from tests.integration.replay.postgres.arrange import ask, baseline, caught_up, load, plan, run
from tests.integration.replay.postgres.test_restore_partial import recorded, refuses, restore
from tests.servers import places
from tests.servers.compare import differences
from tests.servers.postgres import PostgresServer

_WITH_VECTOR = pytest.mark.postgres(16, 18)

_KIT = {
    "kit.control": "default_version = '1.1'\ncomment = 'for tests'\nrelocatable = false\n",
    "kit--1.0.sql": "CREATE SCHEMA kit; CREATE FUNCTION kit.f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';",
    "kit--1.0--1.1.sql": "CREATE OR REPLACE FUNCTION kit.f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 3';",
}
_USES_KIT = "CREATE TABLE t (id int PRIMARY KEY, g int GENERATED ALWAYS AS (kit.f(id)) STORED); INSERT INTO t VALUES (1), (2);"


@pytest.fixture
def kit() -> Iterator[Path]:
    """A folder with an extension of two versions, which servers can read."""
    folder = Path(tempfile.mkdtemp(dir=places.shared_cache()))
    folder.chmod(0o755)
    (folder / "extension").mkdir(mode=0o755)
    for name, text in _KIT.items():
        (folder / "extension" / name).write_text(text)
        (folder / "extension" / name).chmod(0o644)
    yield folder
    shutil.rmtree(folder)


async def test_an_extension_comes_back_in_its_version(kit: Path, tmp_path: Path, start_postgres: Callable[..., PostgresServer]) -> None:
    """Where the target can install it; where it cannot, or has another already, the plan says so before and the report afterwards."""
    server = start_postgres(18, {"extension_control_path": f"{kit}:$system"})
    with server.database() as source, server.database() as same, server.database() as newer, server.database() as there:
        run(server.dsn(there), "CREATE EXTENSION kit")
        async with recorded(server.dsn(source), f"CREATE EXTENSION kit VERSION '1.0'; {_USES_KIT}") as (made, planned):
            assert ("extension", "kit 1.0 in schema public") in planned.facts()
            assert (await preview_target(planned, Reader(made.store), server.dsn(same))).notes == []
            report = await restore(made, planned, server.dsn(same), tmp_path)
            assert report.problems == []
            assert differences(server.dsn(source), server.dsn(same)) == []
            (kit / "extension" / "kit--1.0.sql").rename(kit / "extension" / "kit--1.1.sql")
            said = "extension kit is of version 1.1 in the target, and was 1.0 at the source"
            for target in (newer, there):
                assert said in (await preview_target(planned, Reader(made.store), server.dsn(target))).notes
                assert said in (await restore(made, planned, server.dsn(target), tmp_path)).notes
                assert ask(server.dsn(target), "SELECT extversion FROM pg_extension WHERE extname = 'kit'") == "1.1"


@_WITH_VECTOR
async def test_an_extension_in_another_schema_of_the_target_is_refused(database: str, target_database: str, tmp_path: Path) -> None:
    """CREATE EXTENSION IF NOT EXISTS would leave it there, where nothing finds it."""
    before = (
        "CREATE SCHEMA extensions; CREATE EXTENSION vector SCHEMA extensions; CREATE TABLE d (id int PRIMARY KEY, e extensions.vector(2));"
    )
    run(target_database, "CREATE EXTENSION vector")
    async with recorded(database, before, "INSERT INTO d VALUES (1, '[1,2]')") as (made, planned):
        with pytest.raises(Refused, match="vector is in schema public of the target, and was in extensions") as caught:
            await restore(made, planned, target_database, tmp_path)
        assert "ALTER EXTENSION" in caught.value.hint
        run(target_database, "CREATE SCHEMA extensions", "ALTER EXTENSION vector SET SCHEMA extensions")
        assert (await restore(made, planned, target_database, tmp_path)).problems == []
    assert differences(database, target_database) == []


_PUBLISHED = """
CREATE SCHEMA "other ""space";
CREATE TABLE sales (id int PRIMARY KEY, amount int, "odd ""name" text);
CREATE TABLE "other ""space".t (id int PRIMARY KEY);
CREATE PUBLICATION analytics FOR TABLE sales (id, amount) WHERE (amount > 5) WITH (publish = 'insert, delete', publish_via_partition_root);
CREATE PUBLICATION "every ""one" FOR ALL TABLES;
CREATE PUBLICATION mixed FOR TABLE sales, TABLES IN SCHEMA "other ""space";
CREATE PUBLICATION nothing;
COMMENT ON PUBLICATION "every ""one" IS E'it''s\\n\\\\. "said"';
"""
_LATER = """
DROP PUBLICATION nothing; ALTER PUBLICATION mixed DROP TABLE sales; CREATE PUBLICATION later FOR TABLE sales ("odd ""name", id);
COMMENT ON PUBLICATION analytics IS 'later';
"""
_SAYS = """
SELECT p.pubname::text, p.puballtables, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.pubviaroot,
       (SELECT array_agg(concat_ws(' ', t.schemaname, t.tablename, t.attnames, t.rowfilter) ORDER BY t.schemaname, t.tablename) FROM pg_publication_tables t
         WHERE t.pubname = p.pubname), obj_description(p.oid, 'pg_publication')
  FROM pg_publication p WHERE p.pubname !~ '^archiver_' ORDER BY 1
"""


async def test_publications_come_back(postgres: PostgresServer, database: str, target_database: str, tmp_path: Path) -> None:
    """The user's, as they were at the point, with their columns, filters, operations and comments; not the archiver's."""
    async with recorded(database, _PUBLISHED, _LATER) as (made, planned):
        assert [value for name, value in planned.facts() if name == "publication"] == ["analytics", 'every "one', "later", "mixed"]
        report = await restore(made, planned, target_database, tmp_path)
        await restore_to_folder(planned, Reader(made.store), made.store, tmp_path / "folder")
    assert report.problems == []
    with postgres.database() as name:
        load(postgres, tmp_path / "folder", name)
        for target in (target_database, postgres.dsn(name)):
            with psycopg.connect(database) as one, psycopg.connect(target) as other:
                assert other.execute(_SAYS.encode()).fetchall() == one.execute(_SAYS.encode()).fetchall()
    assert ask(target_database, "SELECT count(*) FROM pg_publication") == 4


async def test_a_publication_that_the_target_does_not_take_costs_itself(database: str, target_database: str, tmp_path: Path) -> None:
    """And what stands in the way is found like everything else."""
    run(target_database, "CREATE PUBLICATION p")
    async with recorded(database, "CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE t WHERE (id > 1)") as (
        made,
        planned,
    ):
        with pytest.raises(Refused, match="PUBLICATION p"):
            await restore(made, planned, target_database, tmp_path)
        run(target_database, "DROP PUBLICATION p")
        assert (await restore(made, planned, target_database, tmp_path)).problems == []
    assert ask(target_database, "SELECT pubname FROM pg_publication_tables WHERE rowfilter = '(id > 1)'") == "p"


_OTHERWISE = """
CREATE TABLE parent (a int PRIMARY KEY);
CREATE TABLE child (own text) INHERITS (parent);
CREATE TABLE same (last text) INHERITS (parent);
ALTER TABLE parent ADD b int;
ALTER TABLE same ADD more int;
INSERT INTO child (a, own, b) VALUES (1, 'x', 2);
CREATE TABLE plain (a int PRIMARY KEY);
CREATE TABLE kid () INHERITS (parent);
CREATE MATERIALIZED VIEW report AS SELECT count(*) AS n FROM parent;
INSERT INTO child (a, own, b) VALUES (2, 'y', 3);
CREATE TYPE pair AS (a int, b regclass);
CREATE DOMAIN pairs AS pair[];
CREATE TABLE holds (id int PRIMARY KEY, what regclass, types regtype[], nested pairs);
INSERT INTO holds VALUES (1, 'plain', '{int}');
CREATE TABLE nests (id int PRIMARY KEY, nested pairs);
INSERT INTO nests VALUES (1, ARRAY[(1, 'plain')::pair]);
CREATE FUNCTION times(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CREATE TABLE counted (a int PRIMARY KEY, own int GENERATED ALWAYS AS (a + 1) STORED, b int GENERATED ALWAYS AS (times(a)) STORED);
INSERT INTO counted VALUES (1);
"""
_RENAMED = """ALTER TABLE plain RENAME TO renamed; CREATE TABLE plain (a int PRIMARY KEY);
CREATE OR REPLACE FUNCTION times(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 3';"""


async def test_the_plan_says_what_comes_back_otherwise(database: str, target_database: str, tmp_path: Path) -> None:
    """A stale view is computed anew, a child's columns change places, names stay as they were written: said before and afterwards, and nothing else is."""
    async with recorded(database, _OTHERWISE, _RENAMED) as (made, planned):
        report = await restore(made, planned, target_database, tmp_path)
        folder = await restore_to_folder(planned, Reader(made.store), made.store, tmp_path / "folder")
    said = [text for name, text in planned.facts() if name == "otherwise"]
    assert [text.partition(":")[0] for text in said] == [
        'materialized view ("public"."report")',
        "generated columns (public.counted.b)",
        "table public.child",
        "table public.same",
        "table public.holds",
        "table public.nests",
    ]
    assert "what, types, nested name other objects" in said[4]
    assert set(said) <= set(report.notes)
    assert set(said) <= set(folder.notes)
    assert ask(target_database, "SELECT n FROM report") == 2
    assert [text.partition(":")[0] for text in differences(database, target_database)] == [
        "rows of public.counted",
        "rows of public.holds",
        "rows of public.nests",
        "rows of public.report",
    ]


async def test_a_parameter_that_the_target_does_not_know_is_left_out(database: str, target_database: str, tmp_path: Path) -> None:
    """Servers of newer minor releases keep more with a column than older programs know to leave out."""
    before = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'); ALTER TABLE t ALTER v SET (n_distinct = 7);"
    before += "UPDATE pg_attribute SET attoptions = array_append(attoptions, 'pg_attver=3') WHERE attrelid = 't'::regclass AND attnum > 0;"
    async with recorded(database, before) as (made, planned):
        await refuses(made, planned, target_database, tmp_path)
        report = await restore(made, planned, target_database, tmp_path)
    assert report.problems == []
    [note] = report.notes
    assert note.startswith("TABLE public.t was made without pg_attver, which the target does not know (written by pg_dump")
    assert differences(database, target_database) == []
    assert (
        ask(target_database, "SELECT attoptions::text FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'v'")
        == "{n_distinct=7}"
    )


_SHARED = """
CREATE SCHEMA extensions; CREATE EXTENSION vector SCHEMA extensions;
CREATE SCHEMA shared; CREATE TYPE shared.mood AS ENUM ('ok', 'bad'); CREATE FUNCTION shared.f() RETURNS int LANGUAGE sql AS 'SELECT 7';
CREATE TABLE shared.kinds (id int PRIMARY KEY); CREATE OPERATOR shared.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
CREATE FUNCTION shared.tr() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE SCHEMA app;
CREATE TABLE app.docs (id int PRIMARY KEY, embedding extensions.vector(3));
CREATE INDEX ON app.docs USING hnsw (embedding extensions.vector_l2_ops);
INSERT INTO app.docs VALUES (1, '[1,2,3]');
CREATE TABLE app.t (id int PRIMARY KEY CHECK (id OPERATOR(shared.===) id), m shared.mood[], n int DEFAULT shared.f(), k int REFERENCES shared.kinds);
CREATE TRIGGER tr BEFORE INSERT ON app.t FOR EACH ROW EXECUTE FUNCTION shared.tr();
CREATE VIEW app.v AS SELECT id FROM shared.kinds;
CREATE PUBLICATION inside FOR TABLE app.docs; CREATE PUBLICATION across FOR TABLE app.docs, shared.kinds;
"""
_NEEDS = ["function shared.f()", "function shared.tr()", "operator shared.===(integer,integer)", "table shared.kinds", "type shared.mood[]"]


@_WITH_VECTOR
async def test_a_schema_alone_brings_its_extensions_and_names_the_rest(database: str, target_database: str, tmp_path: Path) -> None:
    """What else it needs is named by preflight, by the plan and by the report; what does not need it comes back."""
    async with recorded(database, _SHARED, "INSERT INTO app.docs VALUES (2, '[4,5,6]')", schemas=["app"]) as (made, planned):
        session = await Access.of(database).connect()
        try:
            found = (await preflight(session, PostgresConfig(dsn=database, slot="other", schemas=["app"]))).warnings
        finally:
            await session.close()
        report = await restore(made, planned, target_database, tmp_path)
    [finding] = [each for each in found if each.code == "outside"]
    assert finding.about == "schema shared"
    [said] = [text for name, text in planned.facts() if name == "otherwise"]
    assert said in report.notes
    for name in _NEEDS:
        assert name in finding.reason
        assert name in said
    assert planned.publications == ["inside"]
    assert ask(target_database, "SELECT count(*) FROM app.docs") == 2
    assert {each.name for each in report.left_out} >= {"TABLE app.t", "VIEW app.v"}
    assert "docs" not in " ".join(report.problems)


@_WITH_VECTOR
async def test_a_folder_makes_the_schemas_of_extensions_too(postgres: PostgresServer, database: str, tmp_path: Path) -> None:
    """Where only other schemas were captured; psql loads it into a fresh database."""
    before = 'CREATE SCHEMA "my extensions"; CREATE EXTENSION vector SCHEMA "my extensions"; CREATE SCHEMA app;'
    before += "CREATE TABLE app.docs (id int PRIMARY KEY, e \"my extensions\".vector(3)); INSERT INTO app.docs VALUES (1, '[1,2,3]');"
    async with recorded(database, before, schemas=["app"]) as (made, planned):
        await restore_to_folder(planned, Reader(made.store), made.store, tmp_path / "folder")
    with postgres.database() as name:
        load(postgres, tmp_path / "folder", name)
        assert differences(database, postgres.dsn(name)) == []


_GUARDED = """
CREATE SCHEMA far;
CREATE TABLE far.hidden (id serial PRIMARY KEY, who text);
ALTER TABLE far.hidden ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON far.hidden USING (who = 'me') WITH CHECK (true);
CREATE MATERIALIZED VIEW far.seen AS SELECT id FROM far.hidden;
CREATE FUNCTION far.said() RETURNS text LANGUAGE sql AS $$ SELECT '
\\restrict abc
SET transaction_timeout = 0;
\\unrestrict abc
' $$;
"""
_NUMBERS = "INSERT INTO far.hidden (who) VALUES ('me'), ('you');"


async def test_a_folder_sets_sequences_before_policies_hide_rows(postgres: PostgresServer, database: str, tmp_path: Path) -> None:
    """It may be loaded by somebody whom they bind; a materialized view holds what its owner sees. Texts of functions that look like what psql is told stay as they are."""
    run(database, _GUARDED)
    async with capture(database, f"archiver_{uuid.uuid4().hex[:12]}", poll_seconds=600) as made:
        await baseline(made)
        run(database, _NUMBERS)
        planned = await plan(made, await caught_up(made, database))
        await restore_to_folder(planned, Reader(made.store), made.store, tmp_path / "folder", no_owner=True)
    role = f"loader_{uuid.uuid4().hex[:12]}"
    with postgres.database() as name:
        run(postgres.dsn(name), f"CREATE ROLE {role} LOGIN", f"GRANT CREATE ON DATABASE {name} TO {role}")
        load(postgres, tmp_path / "folder", name, role)
        said = "SELECT far.said()"
        assert ask(postgres.dsn(name), said) == ask(database, said)
        assert ask(postgres.dsn(name), "SELECT nextval('far.hidden_id_seq')") == 3
        assert ask(postgres.dsn(name), "SELECT array_agg(id) FROM far.seen") == [1]
        run(postgres.dsn(name), f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")


_GRANTED = """
CREATE SCHEMA far;
COMMENT ON SCHEMA far IS 'far away';
GRANT USAGE ON SCHEMA far TO pg_monitor;
CREATE FUNCTION far.nothing() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER nothing ON sql_drop EXECUTE FUNCTION far.nothing();
CREATE TABLE far.granted (id int PRIMARY KEY);
GRANT SELECT ON far.granted TO pg_monitor WITH GRANT OPTION;
SET ROLE pg_monitor;
GRANT SELECT ON far.granted TO pg_signal_backend;
"""


async def test_a_folder_grants_schemas_before_what_is_in_them(postgres: PostgresServer, database: str, tmp_path: Path) -> None:
    """Somebody who may grant a table needs its schema for that; event triggers, which come last, change nothing about it."""
    async with recorded(database, _GRANTED) as (made, planned):
        await restore_to_folder(planned, Reader(made.store), made.store, tmp_path / "folder")
    with postgres.database() as name:
        load(postgres, tmp_path / "folder", name)
        assert differences(database, postgres.dsn(name)) == []
        assert ask(postgres.dsn(name), "SELECT obj_description('far'::regnamespace)") == "far away"


async def test_a_folder_asks_for_the_version_of_an_extension(
    kit: Path, tmp_path: Path, start_postgres: Callable[..., PostgresServer]
) -> None:
    """Where the server cannot install it, it makes its own and warns; one that stands elsewhere is refused."""
    server = start_postgres(18, {"extension_control_path": f"{kit}:$system"})
    with server.database() as source, server.database() as same, server.database() as newer, server.database() as moved:
        async with recorded(server.dsn(source), f"CREATE EXTENSION kit VERSION '1.0'; {_USES_KIT}") as (made, planned):
            await restore_to_folder(planned, Reader(made.store), made.store, tmp_path / "folder")
        assert "kit" not in load(server, tmp_path / "folder", same)
        assert differences(server.dsn(source), server.dsn(same)) == []
        (kit / "extension" / "kit--1.0.sql").rename(kit / "extension" / "kit--1.1.sql")
        said = "extension kit is of version 1.1 here, and was 1.0 at the source"
        assert said in load(server, tmp_path / "folder", newer)
        assert ask(server.dsn(newer), "SELECT count(g) FROM t") == 2
        run(server.dsn(moved), "CREATE SCHEMA elsewhere", "CREATE EXTENSION kit SCHEMA elsewhere")
        with pytest.raises(AssertionError, match="extension kit is in schema elsewhere here, and was in public at the source"):
            load(server, tmp_path / "folder", moved)


_LISTS = """
CREATE TABLE parts (id int PRIMARY KEY, state varchar(9) CONSTRAINT known CHECK (state IN ('new', 'done')));
CREATE TABLE calm (id int PRIMARY KEY, state text CHECK (state IN ('a', 'b')));
CREATE VIEW done AS SELECT id FROM parts WHERE state IN ('done', 'it''s])::done');
CREATE INDEX few ON parts (id) WHERE state IN ('new', 'done');
CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT ''(ARRAY[''''a''''::character varying])::text[]''';
ALTER TABLE parts RENAME COLUMN state TO status; ALTER TABLE parts RENAME TO pieces;
INSERT INTO pieces VALUES (1, 'new');
"""
_TEXT = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'known'"


async def test_what_is_read_back_in_other_words_is_named(database: str, target_database: str, tmp_path: Path) -> None:
    """The server itself reads such a definition otherwise than it wrote it: the plan for the target and the reports name each of them."""
    async with recorded(database, _LISTS) as (made, planned):
        look = await preview_target(planned, Reader(made.store), target_database)
        report = await restore(made, planned, target_database, tmp_path)
        folder = await restore_to_folder(planned, Reader(made.store), made.store, tmp_path / "folder")
    [said] = [note for note in look.notes if "in other words" in note]
    assert said in report.notes
    assert said in folder.notes
    assert report.problems == []
    assert ask(database, _TEXT) != ask(target_database, _TEXT), "this server reads it back as it was"
    differ = [text.partition(":")[0] for text in differences(database, target_database)]
    assert sorted(differ) == ["constraints of public.pieces known", "indexes of public.few"]
    assert said.partition(": ")[0].split(", ") == ["TABLE public.pieces", "VIEW public.done", "INDEX public.few"]
