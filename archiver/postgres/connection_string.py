"""What a connection string holds, and what it is completed with so that nobody in between reads data or password.

A database that is reached over a network is reached by TLS, its name is verified, and it has to prove that it knows the password (SCRAM).
Whoever wants less says so in the connection string, in libpq's environment, or in the settings. A cleartext password is never sent
unless that is asked for, not even to this machine: who listens there may be somebody else.
"""

from __future__ import annotations

import configparser
import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path

SECRETS = ("password", "sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret")
"""Parameters that are shown nowhere: no log, no message, no list of processes."""

ALLOWED_UNENCRYPTED = "prefer"
"""The ``sslmode`` of whoever allows connections without TLS."""
_VERIFIED = "verify-full"
NO_CLEARTEXT = "!password"
"""The ``require_auth`` of a connection that never sends a password as it is."""
_AUTHORITIES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
"""Where systems keep the authorities that they trust. libpq itself has a word for them (``system``) from 16 on only."""


def without_secrets(values: Mapping[str, object]) -> dict[str, str]:
    """``values`` as they may be shown."""
    return {name: str(value) for name, value in values.items() if name not in SECRETS and value is not None}


def guarded(values: Mapping[str, object], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What to add to the parameters ``values``; nothing that they, libpq's environment or its service file say already."""
    said = {**_environment(environ), **_service(values, environ), **without_secrets(values)}
    password = bool(values.get("password") or environ.get("PGPASSWORD"))
    added: dict[str, str] = {}
    if not is_remote(said):
        return added if "require_auth" in said else {"require_auth": NO_CLEARTEXT}
    if "sslmode" not in said:
        added["sslmode"] = _VERIFIED
        if "sslrootcert" not in said and not Path(environ.get("HOME", "~"), ".postgresql/root.crt").exists():
            added["sslrootcert"] = next((path for path in _AUTHORITIES if Path(path).exists()), "system")
    if "require_auth" not in said:
        # A server that knows us by our certificate asks for no password.
        added["require_auth"] = ("scram-sha-256,none" if "sslcert" in said else "scram-sha-256") if password else NO_CLEARTEXT
    return added


def is_remote(values: Mapping[str, str]) -> bool:
    """Whether any of the hosts is another machine, or may be one. A Unix socket and loopback are this one."""
    hosts = values.get("hostaddr") or values.get("host") or ""
    if not hosts:
        return "service" in values
    return any(not _is_here(host.strip()) for host in hosts.split(","))


def _is_here(host: str) -> bool:
    if not host or host.startswith(("/", "@")) or host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    names = {
        "PGHOST": "host",
        "PGHOSTADDR": "hostaddr",
        "PGREQUIREAUTH": "require_auth",
        "PGSERVICE": "service",
        "PGSSLCERT": "sslcert",
        "PGSSLMODE": "sslmode",
        "PGSSLROOTCERT": "sslrootcert",
    }
    return {word: environ[name] for name, word in names.items() if environ.get(name)}


def _service(values: Mapping[str, object], environ: Mapping[str, str]) -> dict[str, str]:
    """What the service file says of the service that is named. Without any it stays named, and may be anywhere."""
    if not (name := str(values.get("service") or environ.get("PGSERVICE") or "")):
        return {}
    own = environ.get("PGSERVICEFILE") or str(Path(environ.get("HOME", "~"), ".pg_service.conf"))
    for path in (own, str(Path(environ.get("PGSYSCONFDIR", "/etc/postgresql-common"), "pg_service.conf"))):
        read = configparser.ConfigParser(interpolation=None, strict=False, delimiters=("=",), comment_prefixes=("#",))
        try:
            read.read(path, encoding="utf-8")
        except (OSError, UnicodeDecodeError, configparser.Error):
            continue
        if read.has_section(name):
            return without_secrets(dict(read[name]))
    return {}
