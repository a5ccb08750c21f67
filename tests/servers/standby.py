"""A physical standby of a server of the rig: its base backup, started as a second server that can be promoted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tests.servers import process
from tests.servers.postgres import PostgresServer


def standby_of(primary: PostgresServer, *, slot: str, options: Mapping[str, str] | None = None) -> PostgresServer:
    """A running hot standby that streams from ``primary`` through the physical slot ``slot``, which is made here.

    ``primary_conninfo`` names a database, as slot synchronization (17 and newer) wants it. ``options`` override or add to the settings of
    the primary. Whoever starts it closes it.
    """
    primary.execute(f"SELECT pg_create_physical_replication_slot('{slot}', true)")
    settings = {
        **primary._options,
        "primary_conninfo": f"host=127.0.0.1 port={primary.port} user=postgres dbname=postgres application_name={slot}",
        "primary_slot_name": slot,
        **(options or {}),
    }
    server = PostgresServer(primary.version, settings)
    try:
        argv: list[str | Path] = [
            primary.bin / "pg_basebackup",
            "-D",
            server.data,
            "-d",
            primary.dsn(),
            "-S",
            slot,
            "-X",
            "stream",
            "-c",
            "fast",
        ]
        env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
        copying = process.spawn(argv, log=server.log, user=server._user, env=env, cwd=server._folder)
        if copying.wait(120) != 0:
            raise RuntimeError(f"pg_basebackup failed:\n{server._log_tail()}")
        signal = server.data / "standby.signal"
        signal.touch()
        if server._user:
            os.chown(signal, server._user.pw_uid, server._user.pw_gid)
        server.boot()
        process.wait_until(lambda: _streams(primary, slot), seconds=30, what=f"{slot} to stream")
    except BaseException:
        server.close()
        raise
    return server


def _streams(primary: PostgresServer, slot: str) -> bool:
    with primary.connect() as session:
        row = session.execute("SELECT active FROM pg_replication_slots WHERE slot_name = %s", [slot]).fetchone()
    return row == (True,)


def promote(standby: PostgresServer) -> None:
    """Make it a primary on a new timeline; it takes writes on return."""
    standby.execute("SELECT pg_promote(wait => true, wait_seconds => 60)")
