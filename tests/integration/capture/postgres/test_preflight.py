"""Preflight, publications and event triggers at real servers: what is refused, said and done, and that no write of the source ever fails."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from archiver.capture.postgres.catalog import ddl_triggers
from archiver.capture.postgres.catalog.catalog import read_catalog
from archiver.capture.postgres.catalog.publication import read_publication, reconcile_publications
from archiver.capture.postgres.catalog.scope import Scope
from archiver.capture.postgres.catalog.seal_keys import read_seal_keys
from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.preflight.preflight import Preflight, preflight
from archiver.capture.postgres.session.access import Access
from archiver.errors import Refused, Unavailable
from archiver.postgres.announcements import PREFIX
from tests.integration.capture.postgres.rig import capture
from tests.servers.documented_cleanup import clean_up
from tests.servers.postgres import PostgresServer


def run(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as session:
        for statement in statements:
            session.execute(statement.encode())


def config(dsn: str, **options: Any) -> PostgresConfig:
    return PostgresConfig(**{"dsn": dsn, "slot": "pf", "allow_unlimited_wal": True, **options})


async def looked(dsn: str, **options: Any) -> Preflight:
    async with await Access.of(dsn).connect() as session:
        return await preflight(session, config(dsn, **options))


async def reconciled(dsn: str, **options: Any) -> frozenset[int]:
    """Bring the publications in line with the catalog of now; the tables that were added."""
    async with await Access.of(dsn).connect() as session:
        catalog = (await read_catalog(session, Scope())).catalog
        return (await reconcile_publications(session, config(dsn, **options), catalog)).added


@pytest.fixture
def plain(database: str) -> Iterator[tuple[str, str]]:
    """DSN and name of a role with no rights at all."""
    role = f"plain_{uuid.uuid4().hex[:8]}"
    run(database, f"CREATE ROLE {role} LOGIN")
    yield database.replace("postgres@", f"{role}@"), role
    run(database, "DROP PUBLICATION IF EXISTS pf_key, pf_insert", f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")


EVERY_KIND = (
    "CREATE TABLE keyed (id int PRIMARY KEY, v int)",
    "CREATE TABLE keyless (id int, v int)",
    "CREATE TABLE nothing (id int PRIMARY KEY, v int); ALTER TABLE nothing REPLICA IDENTITY NOTHING",
    "CREATE TABLE whole (id int, v int); ALTER TABLE whole REPLICA IDENTITY FULL",
    "CREATE TABLE gen_whole (id int, v int, g int GENERATED ALWAYS AS (v) STORED); ALTER TABLE gen_whole REPLICA IDENTITY FULL",
    "CREATE TABLE gen_key (id int, v int, g int GENERATED ALWAYS AS (id) STORED PRIMARY KEY)",
    "CREATE TABLE by_index (id int NOT NULL UNIQUE, v int); ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_id_key",
    "CREATE TABLE index_lost (id int NOT NULL UNIQUE, v int); ALTER TABLE index_lost REPLICA IDENTITY USING INDEX index_lost_id_key",
    "ALTER TABLE index_lost DROP CONSTRAINT index_lost_id_key",
    "CREATE TABLE deferred (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v int)",
    "CREATE TABLE parent (id int, v int)",
    "CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent)",
    "CREATE TABLE root (id int PRIMARY KEY, v int) PARTITION BY RANGE (id)",
    "CREATE TABLE leaf PARTITION OF root FOR VALUES FROM (0) TO (100)",
    "CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY, v int)",
    'CREATE SCHEMA "Odd""Name"; CREATE TABLE "Odd""Name"."T a" (id int PRIMARY KEY, v int)',
)


async def test_no_write_fails_after_the_publications_are_made(database: str) -> None:
    """UPDATE, DELETE, INSERT and TRUNCATE work on every kind of table, on every version, before and after."""
    run(database, *EVERY_KIND)
    await reconciled(database)
    tables = [
        "keyed",
        "keyless",
        "nothing",
        "whole",
        "gen_whole",
        "gen_key",
        "by_index",
        "index_lost",
        "deferred",
        "parent",
        "child",
        "root",
    ]
    for table in [*tables, "leaf", "unlogged", '"Odd""Name"."T a"']:
        columns = "(id, v)"
        run(
            database,
            f"INSERT INTO {table} {columns} VALUES (1, 1), (2, 2)",
            f"UPDATE {table} SET v = 5",
            f"DELETE FROM {table} WHERE v = 5 AND id = 1",
            f"TRUNCATE {table}",
        )


async def test_publications_hold_each_table_once_and_follow_changes(database: str) -> None:
    """Members follow from the modes; a new, a lost and a regained identity move a table; nothing to do changes nothing."""
    run(database, "CREATE TABLE a (id int PRIMARY KEY)", "CREATE TABLE b (id int)", "INSERT INTO b VALUES (1)")
    assert len(await reconciled(database)) == 2
    assert await members(database) == ({"a"}, {"b"})
    run(database, "CREATE TABLE c (id int PRIMARY KEY)", "ALTER TABLE a DROP CONSTRAINT a_pkey", "ALTER TABLE b ADD PRIMARY KEY (id)")
    assert len(await reconciled(database)) == 1
    assert await members(database) == ({"b", "c"}, {"a"})
    run(database, "DROP TABLE c; CREATE TABLE c (id int PRIMARY KEY)")
    assert len(await reconciled(database)) == 1
    assert len(await reconciled(database)) == 0


async def members(dsn: str) -> tuple[set[str], set[str]]:
    async with await Access.of(dsn).connect() as session:
        found = [await read_publication(session, name) for name in ("pf_key", "pf_insert")]
    first, second = [{name.split(".")[1].strip('"') for name in each.members.values()} if each else set() for each in found]
    return first, second


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("CREATE PUBLICATION pf_key FOR ALL TABLES", "all tables"),
        ("CREATE PUBLICATION pf_key FOR TABLES IN SCHEMA public", "whole schemas"),
        ("CREATE PUBLICATION pf_key FOR TABLE t WHERE (id > 5)", "row filters"),
        ("CREATE PUBLICATION pf_key FOR TABLE t WITH (publish = 'insert')", "publishes insert"),
        ("CREATE PUBLICATION pf_key FOR TABLE t WITH (publish_via_partition_root)", "partition"),
    ],
)
@pytest.mark.postgres(18)
async def test_a_publication_of_our_name_that_would_lose_rows_is_refused(database: str, statement: str, word: str) -> None:
    """It is neither used nor altered, and preflight says the same beforehand."""
    run(database, "CREATE TABLE t (id int PRIMARY KEY)", statement)
    assert word in next(finding for finding in (await looked(database)).refusals if finding.code == "publication").reason
    with pytest.raises(Refused, match=word):
        await reconciled(database)


@pytest.mark.postgres(18)
async def test_a_locked_table_is_tried_again_later(database: str) -> None:
    """A table under VACUUM or DDL is said, and holds up no other; it joins the next time."""
    run(database, "CREATE TABLE a (id int PRIMARY KEY)", "CREATE TABLE b (id int PRIMARY KEY)")
    with psycopg.connect(database) as blocker:
        blocker.execute("LOCK TABLE b IN SHARE UPDATE EXCLUSIVE MODE")
        with pytest.raises(Unavailable, match="locked"):
            await reconciled(database)
        assert await members(database) == ({"a"}, set())
    assert len(await reconciled(database)) == 1
    assert await members(database) == ({"a", "b"}, set())


async def test_each_missing_right_is_named_until_none_is_missing(database: str, plain: tuple[str, str]) -> None:
    """A role without rights learns every one of them; with exactly those granted, nothing is refused and the publications are made."""
    dsn, role = plain
    dbname = database.rsplit("/", 1)[1]
    run(
        database,
        "CREATE ROLE owner_of_app" if not _exists(database, "owner_of_app") else "SELECT 1",
        "CREATE SCHEMA app AUTHORIZATION owner_of_app",
        "SET ROLE owner_of_app; CREATE TABLE app.t (id serial PRIMARY KEY)",
        "SET ROLE owner_of_app; CREATE TABLE app.guarded (id int PRIMARY KEY); ALTER TABLE app.guarded ENABLE ROW LEVEL SECURITY",
    )
    codes = {finding.code for finding in (await looked(dsn)).refusals}
    assert codes == {"replication", "create", "owner", "schema_rights", "select_rights", "row_security", "sequence_rights"}
    for code, grant in (
        ("replication", f"ALTER ROLE {role} REPLICATION"),
        ("create", f"GRANT CREATE ON DATABASE {dbname} TO {role}"),
        ("schema_rights", f"GRANT USAGE ON SCHEMA app TO {role}"),
        ("select_rights", f"GRANT SELECT ON ALL TABLES IN SCHEMA app TO {role}"),
        ("sequence_rights", f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA app TO {role}"),
        ("row_security", f"ALTER ROLE {role} BYPASSRLS"),
        ("owner", f"GRANT owner_of_app TO {role}"),
    ):
        report = await looked(dsn)
        assert code in {finding.code for finding in report.refusals}
        with pytest.raises(Refused):
            report.raise_refusals()
        run(database, grant)
    report = await looked(dsn)
    report.raise_refusals()
    assert (report.superuser, report.ddl) == (False, "poll")
    assert "no_trigger" in {finding.code for finding in report.warnings}
    assert len(await reconciled(dsn)) == 2
    run(database, "DROP SCHEMA app CASCADE", "DROP PUBLICATION pf_key, pf_insert", f"REVOKE owner_of_app FROM {role}")


def _exists(dsn: str, role: str) -> bool:
    with psycopg.connect(dsn) as session:
        return session.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone() is not None


async def test_publications_that_an_administrator_made_need_no_ownership(database: str, plain: tuple[str, str]) -> None:
    """The statements that preflight prints, run by a superuser, are enough for a role that owns nothing."""
    dsn, role = plain
    run(
        database,
        "CREATE TABLE t (id int PRIMARY KEY)",
        "CREATE TABLE u (id int)",
        f"ALTER ROLE {role} REPLICATION",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
    )
    remedy = next(finding for finding in (await looked(dsn)).refusals if finding.code == "owner").remedy
    run(database, *remedy.split("let a superuser run: ")[1].split("; "))
    report = await looked(dsn)
    report.raise_refusals()
    assert await reconciled(dsn) == frozenset()


async def test_what_is_not_captured_whole_is_said(database: str) -> None:
    """Tables known by copies only, unlogged ones, large objects, and publications of others that break writes already."""
    run(database, *EVERY_KIND, "SELECT lo_create(0)", "CREATE PUBLICATION others FOR ALL TABLES")
    run(
        database,
        "CREATE DOMAIN kept AS regproc",
        "CREATE TYPE pair AS (regular int, rights aclitem[])",
        "CREATE TYPE span AS RANGE (subtype = regrole, subtype_opclass = oid_ops)",
        "CREATE DOMAIN deep AS pair[]",
        "CREATE TYPE regular AS ENUM ('x')",
        "CREATE TABLE pointer (id int PRIMARY KEY, one regclass, two regtype[], three kept, four kept[], five pair, six span, seven deep)",
        "CREATE TABLE no_pointer (id int PRIMARY KEY, one regular, two regular[], three text[], four int4range, five oid)",
    )
    report = await looked(database, ddl="poll")
    found = {finding.code: finding for finding in [*report.warnings, *report.notes]}
    assert {"no_identity", "identity_nothing", "identity_index_lost", "generated_in_identity", "unlogged", "large_objects"} <= found.keys()
    assert {"already_broken", "set_unlogged"} <= found.keys()
    assert "deferred" in found["no_identity"].about
    assert found["object_names"].about.startswith("7 columns (public.pointer.one, public.pointer.two, public.pointer.three, ")
    assert "publication others" in found["already_broken"].about
    assert report.refusals == []
    assert report.ddl == "poll"


async def test_a_prepared_transaction_is_warned_of_until_the_slot_is_made(database: str) -> None:
    """Creating a slot waits for its end, and for nothing of it any more once there is one."""
    slot = f"archiver_{uuid.uuid4().hex[:12]}"
    gid = f"prepared_{slot}"
    run(database, f"BEGIN; CREATE TABLE left_open (id int); PREPARE TRANSACTION '{gid}'")
    async with capture(database, slot) as made:
        try:
            await made.start(wait=False)
            await made.until(lambda: gid in str(made.source.status().warnings))
        finally:
            run(database, f"ROLLBACK PREPARED '{gid}'")
        await made.until(lambda: made.source.status().state == "streaming")
        assert gid not in str(made.source.status().warnings)
        await made.stop()


async def test_a_slot_without_a_limit_is_refused_unless_allowed(database: str) -> None:
    """Unlimited WAL for a stopped archiver is the user's decision."""
    report = await looked(database, allow_unlimited_wal=False)
    assert [finding.code for finding in report.refusals] == ["unlimited_wal"]
    assert "unlimited_wal" in {finding.code for finding in (await looked(database)).warnings}


@pytest.mark.postgres(16)
async def test_a_server_that_cannot_decode_is_refused(start_postgres: Callable[..., PostgresServer]) -> None:
    """wal_level, slots and walsenders are looked at before a slot is tried; a limit on WAL is no finding."""
    server = start_postgres(
        16, {"wal_level": "replica", "max_replication_slots": "0", "max_wal_senders": "0", "max_slot_wal_keep_size": "1GB"}
    )
    codes = {finding.code for finding in (await looked(server.dsn(), allow_unlimited_wal=False)).refusals}
    assert codes == {"wal_level", "slots", "walsenders"}


async def test_event_triggers_announce_changes_and_never_fail_them(database: str, plain: tuple[str, str]) -> None:
    """Each change is one transactional message, also by a role without rights; temporary tables and rollbacks are none."""
    dsn, role = plain
    async with await Access.of(database).connect() as session:
        assert await ddl_triggers.install(session)
        assert await ddl_triggers.install(session)
    run(
        database,
        f"GRANT CREATE ON SCHEMA public TO {role}",
        "CREATE PUBLICATION none",
        "SELECT pg_create_logical_replication_slot('messages_' || current_database(), 'pgoutput')",
    )
    run(dsn, "CREATE TABLE mine (id int)", "ALTER TABLE mine ADD COLUMN r float8 DEFAULT random()", "DROP TABLE mine")
    run(dsn, "CREATE TEMP TABLE t (id int); ALTER TABLE t ADD COLUMN x int; DROP TABLE t", "BEGIN; CREATE TABLE gone (id int); ROLLBACK")
    assert announced(database) == ["CREATE TABLE", "ALTER TABLE", "ALTER TABLE", "DROP TABLE"]
    # A function that fails inside must warn and let the statement through.
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(f"GRANT CREATE ON SCHEMA archiver TO {role}".encode())
        admin.execute(f"ALTER FUNCTION archiver.announce_ddl() OWNER TO {role}".encode())
        for (function,) in admin.execute(
            "SELECT oid::regprocedure::text FROM pg_proc WHERE proname = 'pg_logical_emit_message'"
        ).fetchall():
            admin.execute(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC".encode())
    announced(database)
    run(dsn, "CREATE TABLE survives (id int)")
    assert announced(database) == []
    clean_up(database, "none")
    async with await Access.of(database).connect() as session:
        assert not await ddl_triggers.installed(session)
    run(dsn, "CREATE TABLE after (id int)")
    assert announced(database) == []


async def test_what_check_prints_installs_the_triggers_and_lets_the_role_tell_them(database: str, plain: tuple[str, str]) -> None:
    """As an administrator pastes it; then the role has nothing to complain of. Triggers of an earlier version are named."""
    dsn, role = plain
    run(database, f"GRANT CREATE ON DATABASE {database.rsplit('/', 1)[1]} TO {role}")

    async def found() -> tuple[set[str], list[str]]:
        async with await Access.of(dsn).connect() as session:
            report = await preflight(session, PostgresConfig(dsn=dsn, slot="unused", allow_unlimited_wal=True))
        codes = {finding.code for finding in (*report.refusals, *report.warnings)}
        return codes & {"no_trigger", "old_trigger", "unsealed", "no_keys", "keys_shared"}, list(report.least_rights)

    codes, lines = await found()
    assert codes == {"no_trigger"}
    run(database, *(line for line in lines if not line.startswith("--")))
    codes, lines = await found()
    assert (codes, any("EVENT TRIGGER" in line for line in lines)) == (set(), False)
    run(database, f"REVOKE SELECT ON archiver.announcement_key FROM {role}")
    assert (await found())[0] == {"unsealed"}
    # Dropped by somebody; in a database that was made from a dump of the schema alone.
    for lost in ("DROP MATERIALIZED VIEW archiver.announcement_key", "REFRESH MATERIALIZED VIEW archiver.announcement_key WITH NO DATA"):
        run(database, lost)
        codes, lines = await found()
        assert codes == {"no_keys"}, lost
        run(database, *(line for line in lines if not line.startswith("--")))
        assert (await found())[0] == set(), lost
    run(database, f"REVOKE SELECT ON archiver.announcement_key FROM {role}")
    run(database, "COMMENT ON FUNCTION archiver.announce_ddl() IS 'archiver event trigger 0123456789abcdef'")
    codes, lines = await found()
    assert codes == {"old_trigger"}
    run(database, *(line for line in lines if not line.startswith("--")))
    assert (await found())[0] == set()
    clean_up(database, "none")


async def test_an_archiver_that_may_makes_lost_keys_again_and_default_privileges_hand_out_none(
    database: str, plain: tuple[str, str]
) -> None:
    """Nothing would be sealed any more, or by whoever reads the keys; `check` names both, whoever runs it."""
    _, role = plain
    run(database, f"ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {role}", f"ALTER ROLE {role} NOREPLICATION")
    given = f"SELECT has_table_privilege('{role}', 'archiver.announcement_key', 'SELECT')"
    async with await Access.of(database).connect() as session:

        async def found() -> dict[str, str]:
            report = await preflight(session, PostgresConfig(dsn=database, slot="unused", allow_unlimited_wal=True))
            return {each.code: each.remedy for each in report.warnings if each.code in ("no_keys", "keys_shared")}

        assert await ddl_triggers.install(session)
        for lost in (
            "SELECT",
            "DROP MATERIALIZED VIEW archiver.announcement_key",
            "REFRESH MATERIALIZED VIEW archiver.announcement_key WITH NO DATA",
        ):
            run(database, lost)
            assert set(await found()) == ({"no_keys"} if lost != "SELECT" else set()), lost
            assert await ddl_triggers.install(session)
            assert await read_seal_keys(session) is not None, lost
            assert not (await (await session.execute(given.encode())).fetchone() or (True,))[0], lost
        for what in ("SELECT", "SELECT (inner_key)"):
            for whom in (role, "PUBLIC"):
                run(database, f"GRANT {what} ON archiver.announcement_key TO {whom}")
                assert await read_seal_keys(session) is None
                run(database, (await found())["keys_shared"])
                assert await read_seal_keys(session) is not None
    run(database, f"ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM {role}")
    clean_up(database, "none")


def announced(dsn: str) -> list[str]:
    """Tags of the messages since the last call."""
    import json

    with psycopg.connect(dsn, autocommit=True) as session:
        rows = session.execute(
            "SELECT data FROM pg_logical_slot_get_binary_changes('messages_' || current_database(), NULL, NULL,"
            " 'proto_version', '1', 'publication_names', 'none', 'messages', 'true')"
        ).fetchall()
    tags = []
    for (data,) in rows:
        if data[:1] == b"M":
            prefix, _, rest = data[10:].partition(b"\0")
            assert prefix.decode() == PREFIX
            assert data[1] == 1
            tags.append(json.loads(rest[4:])["tag"])
    return tags


@pytest.mark.postgres(18)
async def test_a_role_that_is_no_superuser_cannot_install_and_leaves_nothing(database: str, plain: tuple[str, str]) -> None:
    """The attempt is undone as a whole."""
    dsn, role = plain
    run(database, f"GRANT CREATE ON DATABASE {database.rsplit('/', 1)[1]} TO {role}")
    async with await Access.of(dsn).connect() as session:
        assert not await ddl_triggers.install(session)
        assert await (await session.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'archiver'")).fetchone() is None


@pytest.mark.postgres(18)
async def test_what_publishing_makes_the_server_refuse_is_said(database: str) -> None:
    """A member's virtual generated column keeps its expression until the table leaves the publication for a moment."""
    config = PostgresConfig(dsn=database, slot="unused")
    run(database, "CREATE TABLE v (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) VIRTUAL)")
    session = await Access.of(database).connect()
    try:
        notes = {finding.code: finding for finding in (await preflight(session, config)).notes}
        assert notes["set_expression"].about == "column public.v.twice"
        await reconcile_publications(session, config, (await read_catalog(session, Scope())).catalog)
        change = "ALTER TABLE v ALTER twice SET EXPRESSION AS (id * 3)"
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            run(database, change)
        run(database, f"BEGIN; ALTER PUBLICATION unused_key DROP TABLE v; {change}; COMMIT")
    finally:
        await session.close()
