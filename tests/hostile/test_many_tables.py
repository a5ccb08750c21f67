"""More tables than a command line has room for, made by somebody who may create tables and gives the archiver no right to them."""

from __future__ import annotations

import re
from collections.abc import Callable

import psycopg
import pytest

from archiver.capture.postgres.baseline.schema_entry import take_schema
from archiver.capture.postgres.catalog.scope import Scope
from archiver.capture.postgres.session.access import Access
from archiver.capture.postgres.session.dump_selection import DumpSelection, Tables
from archiver.capture.postgres.session.snapshot import hold_snapshot
from archiver.errors import Refused
from archiver.postgres.client_programs import find_tools, run
from tests.servers.postgres import PostgresServer

SPACE, COUNT = "m" * 60, 12_000
AWKWARD = ['with"quote', "with\nline", "with#hash", "with(par)|bar*?", "Übung$", "with space "]


def fill(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as session:
        session.execute("CREATE ROLE keeper LOGIN")
        session.execute(f"CREATE SCHEMA {SPACE}".encode())
        session.execute(f"GRANT USAGE ON SCHEMA {SPACE} TO keeper".encode())
        session.execute("CREATE TABLE mine (id int PRIMARY KEY)")
        session.execute("GRANT SELECT ON mine TO keeper")
        for name in AWKWARD:
            session.execute(psycopg.sql.SQL("CREATE TABLE {} ()").format(psycopg.sql.Identifier(name)))
            # Its name begins like the other's, which must be named whole then.
            readable = psycopg.sql.Identifier(f"{name} too")
            session.execute(psycopg.sql.SQL("CREATE TABLE {} ()").format(readable))
            session.execute(psycopg.sql.SQL("GRANT SELECT ON {} TO keeper").format(readable))
        for first in range(0, COUNT, 500):
            session.execute(
                f"DO $$ BEGIN FOR i IN {first}..{first + 499} LOOP EXECUTE format('CREATE TABLE {SPACE}.t%s ()', lpad(i::text, 58, 'x'));"
                " END LOOP; END $$".encode()
            )


async def test_any_number_of_tables_can_be_left_out(start_postgres: Callable[..., PostgresServer]) -> None:
    """Tables that may not be read, whatever they are called and however many they are, do not keep the others from being dumped."""
    server = start_postgres(15, {"max_locks_per_transaction": "1024"})
    fill(server.dsn())
    access = Access.of(server.dsn().replace("postgres@", "keeper@"))
    oldest, newest = find_tools(150000, "/usr/lib/postgresql/15/bin"), find_tools(150000)
    assert (oldest.version, newest.version) == (15, 18)
    for tools in (oldest, newest):
        async with hold_snapshot(access) as held:
            entry = await take_schema(held, access, tools, Scope(), cause="poll")
        script = (await run(tools.bin / "pg_restore", ["--file=-"], stdin=entry.dump)).decode()
        created = re.findall(r'^CREATE TABLE public\.("(?:[^"]|"")*"|\w+) \(', script, re.MULTILINE)
        assert len(created) == 1 + len(AWKWARD)
        assert all(name == "mine" or name.endswith(' too"') for name in created)
        assert SPACE in script
        assert "x0" not in script


def test_no_room_is_said() -> None:
    """Where pg_dump takes names by its command line only, and there are too many, the error counts them and names a way."""
    selection = DumpSelection(without_tables=[Tables(SPACE, f"{'x' * 58}{number}") for number in range(25_000)])
    with pytest.raises(Refused, match=r"so many tables \(25000\) and schemas \(0\)"):
        selection.told(16)
    arguments, stdin = selection.told(17)
    assert arguments == ["--filter=-"]
    assert stdin is not None
    assert stdin.count(b"\n") == 25_000
