"""A second database that holds what a first one held at a moment, made by pg_dump and pg_restore alone: what a restore must equal."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator

from tests.servers.postgres import PostgresServer


@contextlib.contextmanager
def expected(server: PostgresServer, dsn: str) -> Iterator[str]:
    """The DSN of a copy of the database behind ``dsn`` as it is now; gone at the end."""
    with server.database() as name:
        target = server.dsn(name)
        # Our event trigger and its schema are no part of the state.
        dump = [str(server.bin / "pg_dump"), "--format=custom", "--exclude-schema=archiver", "--no-publications", f"--dbname={dsn}"]
        made = subprocess.run(dump, check=True, capture_output=True).stdout
        command = [str(server.bin / "pg_restore"), "--list"]
        listing = subprocess.run(command, check=True, capture_output=True, input=made).stdout.splitlines()
        with tempfile.NamedTemporaryFile(suffix=".list") as chosen:
            chosen.write(b"\n".join(line for line in listing if b" EVENT TRIGGER " not in line))
            chosen.flush()
            restore = [str(server.bin / "pg_restore"), "--exit-on-error", f"--use-list={chosen.name}", f"--dbname={target}"]
            subprocess.run(restore, check=True, input=made)
        yield target
