"""Every session at a source or a target looks names up in the server's own catalog first, and reads nobody's view."""

from __future__ import annotations

import ast
from pathlib import Path

import psycopg
import pytest

from archiver.capture.postgres.session.access import Access
from archiver.capture.postgres.session.replication import connect_replication
from archiver.postgres.connecting import allow_views, connect
from archiver.replay.postgres.write.target_database import connected, pin

PRODUCT = Path(__file__).parents[2] / "archiver"
HOME = PRODUCT / "postgres/connecting.py"


def test_there_is_one_place_that_connects() -> None:
    """No other file calls a driver's ``connect``; programs that connect are pg_dump alone, which is told the same."""
    found = []
    for path in PRODUCT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and path != HOME:
                called = ast.unparse(node.func)
                if called.startswith("psycopg.") and "connect" in called.lower():
                    found.append(f"{path.name}: {called}")
                if called == "run" and "pg_restore" in ast.unparse(node) and "dbname" in ast.unparse(node):
                    found.append(f"{path.name}: pg_restore connects")
            if (
                isinstance(node, ast.ImportFrom)
                and node.module == "psycopg"
                and {"connect", "AsyncConnection", "pq"} & {alias.name for alias in node.names}
                and path != HOME
            ):
                found.append(f"{path.name} imports a way to connect")
    assert [each for each in found if "conninfo" not in each] == []


@pytest.mark.postgres(15, 16, 18)
async def test_no_session_finds_what_a_role_or_database_put_before_the_catalog(database: str) -> None:
    """Whatever ALTER DATABASE sets, for each way that a session is opened."""
    name = database.rsplit("/", 1)[1]
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute("CREATE TABLE public.pg_class (x int); CREATE VIEW public.v AS SELECT 1 AS a")
        admin.execute(f"ALTER DATABASE {name} SET search_path = public, pg_catalog".encode())
    access = Access.of(database)
    opened = [await access.connect(), await connect_replication(access, "archiver_test"), await connect(database, "trying")]
    async with connected(database) as target:
        for session in [*opened, target]:
            shown = await (await session.execute(b"SELECT current_setting('search_path')")).fetchone()
            assert str(shown[0] if shown else "").replace(" ", "") == "pg_catalog,pg_temp"
            shown = await (await session.execute(b"SELECT 'pg_class'::regclass::oid")).fetchone()
            assert shown == ("1259",) or shown == (1259,)
            with pytest.raises(psycopg.Error, match="restricted"):
                await session.execute(b"SELECT * FROM public.v")
        await pin(target)
        with pytest.raises(psycopg.Error, match="restricted"):
            await target.execute(b"SELECT * FROM public.v")
        await allow_views(target)
        assert await (await target.execute(b"SELECT * FROM public.v")).fetchone() is not None
    for session in opened:
        await session.close()


@pytest.mark.parametrize("variable", ["PGTZ", "PGDATESTYLE", "PGCLIENTENCODING"])
@pytest.mark.postgres(15, 18)
async def test_the_environment_changes_no_text_of_a_value(database: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """libpq sends these behind the options of the connection string, so that they win. A day would be taken for a month."""
    monkeypatch.setenv(variable, {"PGTZ": "Asia/Kathmandu", "PGDATESTYLE": "German, DMY", "PGCLIENTENCODING": "LATIN1"}[variable])
    access = Access.of(database)
    opened = [await access.connect(), await connect_replication(access, "archiver_test")]
    async with connected(database) as target:
        await pin(target)
        for session in [*opened, target]:
            cursor = await session.execute(b"SELECT timestamptz '2026-11-12 01:02:03+00', chr(8364)")
            assert cursor.pgresult is not None
            assert [cursor.pgresult.get_value(0, at) for at in (0, 1)] == [b"2026-11-12 01:02:03+00", "\u20ac".encode()]
    for session in opened:
        await session.close()
    with access.for_programs(restricted=True) as (_, environment):
        assert variable not in environment
