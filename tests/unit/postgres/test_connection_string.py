"""What is added to a connection string so that nobody in between reads or forges."""

from __future__ import annotations

from pathlib import Path

import pytest

from archiver.postgres.connection_string import guarded, is_remote

HERE = [
    "127.0.0.1",
    "127.8.0.1",
    "::1",
    "::ffff:127.0.0.1",
    "localhost",
    "LOCALHOST",
    "/var/run/postgresql",
    "@abstract",
    "",
    "localhost,127.0.0.1",
]
THERE = [
    "db",
    "10.0.0.1",
    "localhost.example.com",
    "127.0.0.1.example.com",
    "127.0.0.1,db",
    "fd00::1",
    "::ffff:10.0.0.1",
    "0.0.0.0",
    "db.localhost",
]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment in which nothing is said."""
    return {"HOME": str(tmp_path), "PGSYSCONFDIR": str(tmp_path)}


@pytest.mark.parametrize("host", HERE)
def test_this_machine_needs_no_tls_and_never_gets_a_cleartext_password(host: str, environ: dict[str, str]) -> None:
    """Who listens on loopback may be anybody."""
    assert not is_remote({"host": host})
    assert guarded({"host": host, "password": "x"}, environ) == {"require_auth": "!password"}


@pytest.mark.parametrize("host", THERE)
def test_another_machine_is_verified_and_proves_that_it_knows_the_password(host: str, environ: dict[str, str]) -> None:
    """One of several hosts is enough."""
    assert is_remote({"host": host})
    found = guarded({"host": host, "password": "x"}, environ)
    assert (found["sslmode"], found["require_auth"]) == ("verify-full", "scram-sha-256")
    assert found["sslrootcert"]


def test_the_address_decides_and_not_the_name(environ: dict[str, str]) -> None:
    """libpq connects to ``hostaddr`` where it is given; and to what its environment and service file name."""
    assert guarded({"host": "localhost", "hostaddr": "10.0.0.1"}, environ)["sslmode"] == "verify-full"
    assert "sslmode" not in guarded({"host": "db", "hostaddr": "127.0.0.1"}, environ)
    assert guarded({}, {**environ, "PGHOST": "db"})["sslmode"] == "verify-full"
    assert guarded({"service": "unknown"}, environ)["sslmode"] == "verify-full"
    Path(environ["HOME"], ".pg_service.conf").write_text("# one\n[far]\nhost=db\n[lax]\nhost=db\nsslmode=require\n[near]\nhost=localhost\n")
    assert guarded({"service": "far"}, environ)["sslmode"] == "verify-full"
    assert "sslmode" not in guarded({"service": "lax"}, environ)
    assert "sslmode" not in guarded({}, {**environ, "PGSERVICE": "near"})


@pytest.mark.parametrize(
    ("said", "of_the_environment"),
    [({"sslmode": "disable", "require_auth": "md5"}, {}), ({}, {"PGSSLMODE": "prefer", "PGREQUIREAUTH": "md5"})],
)
def test_what_is_said_stays(said: dict[str, str], of_the_environment: dict[str, str], environ: dict[str, str]) -> None:
    """The connection string and libpq's environment win."""
    assert guarded({"host": "db", "password": "x", **said}, {**environ, **of_the_environment}) == {}


def test_an_authority_that_is_named_is_the_only_one(environ: dict[str, str]) -> None:
    """In the string, the environment, or where libpq looks by itself."""
    assert "sslrootcert" not in guarded({"host": "db", "sslrootcert": "/ca.crt"}, environ)
    assert "sslrootcert" not in guarded({"host": "db"}, {**environ, "PGSSLROOTCERT": "/ca.crt"})
    Path(environ["HOME"], ".postgresql").mkdir()
    Path(environ["HOME"], ".postgresql/root.crt").write_text("")
    assert "sslrootcert" not in guarded({"host": "db"}, environ)


def test_without_a_password_there_is_nothing_to_prove(environ: dict[str, str]) -> None:
    """A role that logs in by its certificate is asked for nothing; but a cleartext password from a file is never sent."""
    assert guarded({"host": "db"}, environ)["require_auth"] == "!password"
    assert guarded({"host": "db", "password": "x", "sslcert": "/c"}, environ)["require_auth"] == "scram-sha-256,none"
