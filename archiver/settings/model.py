"""What a user may set: one YAML file, every key also by environment. Stages receive values from here, never this module.
What a stage works with is declared in that stage, and inherited here.

Durations are seconds, sizes bytes, times of day none. Names of limits end in their unit.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from archiver.bounds import Positive
from archiver.capture.kubernetes.config import KubernetesOptions
from archiver.capture.postgres.config import PostgresOptions
from archiver.journal.limits import WriterLimits
from archiver.maintenance.limits import MaintenanceLimits
from archiver.replay.assertions import Assertion, DrillOptions
from archiver.retention.limits import RetentionLimits, SourceRetention
from archiver.store.options import S3Options


class S3(S3Options, frozen=True, forbid_unknown_fields=True):
    """How to reach an S3 endpoint. Credentials: these references, else the usual AWS chain (environment, web identity, profile)."""


class Archive(WriterLimits, frozen=True, forbid_unknown_fields=True):
    """Where the journal is and how it is written."""

    url: str = "file:///var/lib/archiver"
    """``file:///path``, ``s3://bucket/prefix``, or ``memory:`` (tests)."""
    s3: S3 = S3()
    instance: str = ""
    """Stable name of this writer; empty: the host name. The same instance takes its archive over at once: give every
    installation its own, and never run two of one."""
    allow_unfenced_store: bool = False
    """Write to a store whose create-if-absent does not hold. Two writers then destroy each other's history."""


class Postgres(PostgresOptions, frozen=True, forbid_unknown_fields=True):
    """One PostgreSQL database."""

    dsn: str
    """libpq connection string or URI without the password; or a secret reference ``env:NAME`` / ``file:PATH`` to a whole one."""
    password: str = ""
    """Secret reference: ``env:NAME`` or ``file:PATH``."""
    ca_file: str = ""
    """PEM file with the authorities that may sign the server's certificate; empty: the system's. The DSN's ``sslrootcert`` wins."""
    allow_unencrypted: bool = False
    """Reach a database on another machine without TLS, or without verifying it. The DSN's ``sslmode`` wins."""


class Kubernetes(KubernetesOptions, frozen=True, forbid_unknown_fields=True):
    """Custom resources of one cluster."""


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Exactly one of the two."""

    postgres: Postgres | None = None
    kubernetes: Kubernetes | None = None


class Maintenance(MaintenanceLimits, frozen=True, forbid_unknown_fields=True):
    """Keeping the archive quick as it grows, while it is written."""


class Retention(RetentionLimits, frozen=True, forbid_unknown_fields=True):
    """What stays, and what `archiver maintain` and `archiver retain` delete. Without it nothing is ever deleted."""

    sources: dict[str, SourceRetention] = msgspec.field(default_factory=dict)
    """By name: a source with a window of its own."""


class Drills(DrillOptions, frozen=True, forbid_unknown_fields=True):
    """What `archiver drill` asks of what it restored."""

    assertions: list[Assertion] = msgspec.field(default_factory=list)
    """What must hold of a restored source. A drill asks it, and fails with exit code 9 when it does not."""


class Web(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Probes, status and metrics."""

    listen: str = ""
    """``host:port``; empty: off. ``archiver mark`` asks a running archiver there."""
    rpo_seconds: Positive = 300.0
    """``/readyz`` fails when what is known to be durable of a source is older than this. Bookmarks prove an idle watch about once a minute;
    between them one that lives counts."""


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Structured log on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is written."""
    format: Literal["auto", "console", "json"] = "auto"
    """``auto``: console on a terminal, JSON elsewhere."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    archive: Archive = Archive()
    sources: dict[str, Source] = {}
    """Source name (``[a-z0-9-]``) to source."""
    maintenance: Maintenance = Maintenance()
    retention: Retention = Retention()
    drills: Drills = Drills()
    web: Web = Web()
    log: Log = Log()
    grace_seconds: Positive = 25.0
    """After SIGTERM: time to make everything received durable and acknowledged."""
    retry_seconds: Positive = 1.0
    """First pause after a source failed; doubles up to ``retry_limit_seconds``."""
    retry_limit_seconds: Positive = 60.0
    """Longest pause before a failed source is tried again."""
