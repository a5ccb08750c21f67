"""Whoever stands between the archiver and a database, or reads lists of processes, learns no secret."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from archiver.capture.postgres.session.access import Access, with_password
from archiver.capture.postgres.session.protection import protection_of
from archiver.errors import ArchiverError, Invalid, Unavailable
from archiver.postgres import client_programs
from archiver.replay.postgres.write.scratch_database import scratch_database
from archiver.replay.postgres.write.target_database import connected
from tests.integration.service.rig import captured, create_table, database_source
from tests.servers.archiver import Archiver
from tests.servers.certificate import Certificate
from tests.servers.postgres import PostgresServer

CLEARTEXT, MD5 = struct.pack(">I", 3), struct.pack(">I", 5) + b"salt"


class Stranger:
    """Speaks no TLS, asks for a password, and keeps whatever comes."""

    def __init__(self, request: bytes) -> None:
        self.got: list[bytes] = []
        self._request = request
        self._socket = socket.create_server(("0.0.0.0", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, struct.error), client:
            while True:
                size = struct.unpack(">I", client.recv(4))[0]
                code = struct.unpack(">I", client.recv(size - 4)[:4])[0]
                if code not in (80877103, 80877104):
                    break
                client.send(b"N")
            client.send(b"R" + struct.pack(">I", 4 + len(self._request)) + self._request)
            client.settimeout(2)
            if kind := client.recv(1):
                self.got.append(kind + client.recv(1000))

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=[CLEARTEXT, MD5], ids=["cleartext", "md5"])
def stranger(request: pytest.FixtureRequest) -> Iterator[Stranger]:
    made = Stranger(request.param)
    yield made
    made.close()


def another_machine() -> str:
    """An address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


async def test_a_stranger_gets_no_password(stranger: Stranger) -> None:
    """Neither capture, nor a restore's target, nor a drill's scratch server; remote ones get not even a hash."""
    for host in ("127.0.0.1", another_machine()):
        dsn = f"postgresql://archiver:S3CR3T@{host}:{stranger.port}/app"
        with pytest.raises(ArchiverError):
            await Access.of(dsn).connect()
        with pytest.raises(ArchiverError):
            async with connected(dsn):
                pass
        with pytest.raises(ArchiverError):
            async with scratch_database(dsn, "x"):
                pass
    assert not any(b"S3CR3T" in text for text in stranger.got)
    if stranger._request == CLEARTEXT:
        assert stranger.got == []


def test_check_says_what_is_missing(tmp_path: Path) -> None:
    """A remote server without TLS is refused, with what to set; one that is allowed is warned of."""
    stranger = Stranger(CLEARTEXT)
    dsn = f"postgresql://archiver@{another_machine()}:{stranger.port}/app"
    archiver = Archiver(tmp_path, {"db": {"postgres": {"dsn": dsn, "password": "env:PW"}}})
    done = archiver.call("check", env={"PW": "S3CR3T"})
    stranger.close()
    assert done.returncode == 3
    assert "SSL" in done.stdout
    assert "prepare-postgres.md" in done.stdout
    assert stranger.got == []


@pytest.fixture
def far(start_postgres: Callable[..., PostgresServer], tmp_path: Path) -> tuple[str, Certificate]:
    """A server that is reached by another address than loopback, with TLS and SCRAM: DSN of a role with a password, and its authority."""
    certificate = Certificate.create(tmp_path, another_machine())
    server = start_postgres(15, {"listen_addresses": "*", "password_encryption": "scram-sha-256", "max_slot_wal_keep_size": "1GB"})
    for name in ("certificate", "key"):
        file: Path = getattr(certificate, name)
        kept = server.data / file.name
        kept.write_bytes(file.read_bytes())
        kept.chmod(0o600)
        if server._user is not None:
            import os

            os.chown(kept, server._user.pw_uid, server._user.pw_gid)
    server.execute("CREATE ROLE archiver SUPERUSER LOGIN REPLICATION PASSWORD 'S3CR3T'", "ALTER SYSTEM SET ssl = on", "CREATE DATABASE app")
    with (server.data / "pg_hba.conf").open("a") as hba:
        hba.write("\nhostssl all all 0.0.0.0/0 scram-sha-256\n")
    server.execute("SELECT pg_reload_conf()")
    return f"postgresql://archiver@{another_machine()}:{server.port}/app", certificate


@pytest.mark.postgres(15)
async def test_a_remote_server_is_verified(far: tuple[str, Certificate], postgres_version: int) -> None:
    """Its authority must be known. What the connection string says wins."""
    dsn, certificate = far
    with pytest.raises(Unavailable, match="certificate verify failed") as caught:
        await Access.of(with_password(dsn, "S3CR3T")).connect()
    assert "prepare-postgres" in caught.value.hint
    for said, mode, safe in (
        ({"ca_file": str(certificate.certificate)}, "verify-full", True),
        ({"allow_unencrypted": True}, "prefer", False),
    ):
        access = Access.of(with_password(dsn, "S3CR3T", **said))
        session = await access.connect()
        found = await protection_of(access, session)
        await session.close()
        assert (found.remote, found.tls, found.mode, found.safe) == (True, "TLSv1.3", mode, safe)
    assert Access.of(with_password(f"{dsn}?sslmode=require", "", allow_unencrypted=True)).arguments()["sslmode"] == "require"


@pytest.mark.postgres(15)
def test_capture_over_tls_shows_no_secret_in_a_list_of_processes(
    far: tuple[str, Certificate], tmp_path: Path, postgres_version: int
) -> None:
    """Baseline, dumps and stream by verified TLS; `check` says so; every secret of the connection string stays out of arguments."""
    dsn, certificate = far
    login = with_password(f"{dsn}?sslpassword=S3CR3T-2", "S3CR3T", ca_file=str(certificate.certificate))
    create_table(login)
    folder = tmp_path / "archiver"
    folder.mkdir()
    source = database_source(
        f"{dsn}?sslpassword=S3CR3T-2", password="env:PW", ca_file=str(certificate.certificate), pg_bin="/usr/lib/postgresql/15/bin"
    )
    seen: set[bytes] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            for process in Path("/proc").iterdir():
                if process.name.isdigit():
                    with contextlib.suppress(OSError):
                        words = (process / "cmdline").read_bytes()
                        if b"pg_dump" in words or b"S3CR3T" in words:
                            seen.add(words)

    with Archiver(folder, {"db": source}, serve=True) as archiver, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PW", "S3CR3T")
        checked = archiver.call("check")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert "another machine: TLSv1.3, sslmode verify-full; authentication: scram-sha-256" in checked.stdout
        watching = threading.Thread(target=watch)
        watching.start()
        archiver.start()
        captured(archiver, "db", login)
        with psycopg.connect(login, autocommit=True) as session:
            session.execute("CREATE TABLE later (id int PRIMARY KEY)")
        captured(archiver, "db", login)
        assert archiver.stop() == 0
        stop.set()
        watching.join()
        assert "S3CR3T" not in archiver.log()
    assert any(b"--dbname=" in words for words in seen)
    assert not any(b"S3CR3T" in words for words in seen)


async def test_no_secret_is_an_argument_or_shown(tmp_path: Path) -> None:
    """Every parameter of libpq that is a secret goes by the environment or by a file that ends with the program."""
    secrets = {"password": "S3CR3T-1", "sslpassword": "S3CR3T-2", "scram_client_key": "S3CR3T-3", "oauth_client_secret": "S3CR3T-4"}
    dsn = " ".join(f"{name}={value}" for name, value in {"host": "db", **secrets}.items())
    access = Access.of(dsn)
    assert "S3CR3T" not in repr(access)
    with access.for_programs(restricted=True, base={"PATH": "/bin:/usr/bin"}) as (shown, environment):
        assert "S3CR3T" not in shown
        assert environment["PGPASSWORD"] == "S3CR3T-1"
        told = await client_programs.run(Path("/bin/sh"), ["-c", 'cat "$PGSERVICEFILE"'], environment=environment)
        assert told.decode().splitlines()[1:] == [f"{name}={value}" for name, value in secrets.items() if name != "password"]
        file = Path(environment["PGSERVICEFILE"])
        assert file.parent.stat().st_mode & 0o077 == 0
    assert not file.exists()
    with pytest.raises(Invalid, match="service"), Access.of(f"{dsn} service=s").for_programs(restricted=False):
        pass
    await asyncio.sleep(0)
