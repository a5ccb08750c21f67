"""Settings -> sources, with their secrets resolved; and what a source says of itself when nobody captures it right now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import structlog

from archiver.capture.kubernetes.config import KubernetesConfig
from archiver.capture.postgres.config import PostgresConfig
from archiver.capture.postgres.session.access import with_password
from archiver.errors import ArchiverError, Invalid
from archiver.postgres.captured_systems import CapturedDatabase
from archiver.secrets import Secret
from archiver.settings import Kubernetes, Postgres, Settings

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.journal.writer import Writer
    from archiver.service.service import Source
    from archiver.service.status import SourceLine

_log = structlog.get_logger()


def build_sources(settings: Settings, writer: Writer, clock: Clock) -> list[Source]:
    """All sources of the settings, not yet running. Raises ``Invalid`` for a secret that is not there."""
    from archiver.capture.kubernetes.source import KubernetesSource
    from archiver.capture.postgres.source import PostgresSource

    found: list[Source] = []
    for name, source in settings.sources.items():
        if source.postgres is not None:
            dsn = connection_string(name, source.postgres)
            found.append(PostgresSource(name, postgres_config(name, source.postgres, settings), writer, clock, dsn=dsn))
        if source.kubernetes is not None:
            found.append(KubernetesSource(name, kubernetes_config(source.kubernetes, settings), writer, clock))
    return found


def postgres_config(name: str, values: Postgres, settings: Settings) -> PostgresConfig:
    """What capture of one database needs: its settings, the DSN with its password, the slot's name."""
    plain = {
        field: value
        for field, value in msgspec.to_builtins(values).items()
        if field not in {"dsn", "password", "slot", "ca_file", "allow_unencrypted"}
    }
    return msgspec.convert(
        {
            **plain,
            "dsn": connection_string(name, values)(),
            "slot": values.slot or f"archiver_{name.replace('-', '_')}",
            "heartbeat_seconds": settings.archive.heartbeat_seconds,
        },
        PostgresConfig,
    )


def connection_string(name: str, values: Postgres) -> Callable[[], str]:
    """What gives the DSN with its password as both are now: files are read at every call, so that a rotated password is taken over.

    Raises ``Invalid``, now and at each call.
    """
    key = f"sources.{name}.postgres"
    dsn = Secret(values.dsn, f"{key}.dsn") if values.dsn.startswith(("env:", "file:")) else None
    password = Secret(values.password, f"{key}.password") if values.password else None

    def read() -> str:
        known, secret = dsn.read() if dsn else values.dsn, password.read() if password else ""
        try:
            return with_password(known, secret, ca_file=values.ca_file, allow_unencrypted=values.allow_unencrypted)
        except Invalid as error:
            raise Invalid(f"{key}.dsn: {error.message}", hint=error.hint) from None

    return read


def kubernetes_config(values: Kubernetes, settings: Settings) -> KubernetesConfig:
    """What capture of one cluster needs."""
    return msgspec.convert({**msgspec.to_builtins(values), "heartbeat_seconds": settings.archive.heartbeat_seconds}, KubernetesConfig)


async def ask_sources(settings: Settings, lines: list[SourceLine]) -> None:
    """Ask each database where it is and lay the answer over its line; one that cannot be asked gets that as its problem."""
    from archiver.capture.postgres.source import ask_status
    from archiver.service.status import add

    by_name = {line.name: line for line in lines}
    for name, source in settings.sources.items():
        line = by_name.get(name)
        if source.postgres is None or line is None:
            continue
        try:
            add(line, await ask_status(name, postgres_config(name, source.postgres, settings), line.durable_position))
        except ArchiverError as error:
            line.problem = error.message


async def configured_databases(settings: Settings) -> frozenset[CapturedDatabase]:
    """The databases that the settings name, as far as they answer now. One that does not is logged: it may be the reason for a restore."""
    found = await asyncio.gather(*(_who(name, source.postgres) for name, source in settings.sources.items() if source.postgres is not None))
    return frozenset(database for database in found if database is not None)


async def _who(name: str, values: Postgres) -> CapturedDatabase | None:
    from archiver.capture.postgres.session.identity import identity_of

    try:
        return await identity_of(connection_string(name, values)())
    except ArchiverError as error:
        _log.warning("source_not_compared", source=name, reason=error.message, hint="the journal still tells which systems were captured")
        return None
