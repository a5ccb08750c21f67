"""What a user may set: one YAML file, every key also by environment. Stages receive values from here, never this module.

Durations are seconds, sizes bytes, times of day none. Names of limits end in their unit.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


class S3(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to reach an S3 endpoint. Credentials: these references, else the usual AWS chain (environment, web identity, profile)."""

    endpoint: str = ""
    """URL of the endpoint; empty for AWS. ``http://`` needs ``allow_http``."""
    allow_http: bool = False
    """Send data and signatures over an unencrypted connection."""
    region: str = "us-east-1"
    """Region for signing; servers other than AWS take any."""
    addressing: Literal["path", "virtual"] = "path"
    """Bucket in the path or in the host name."""
    access_key: str = ""
    """Secret reference: ``env:NAME`` or ``file:PATH``. Empty: AWS chain."""
    secret_key: str = ""
    """Secret reference; given exactly when ``access_key`` is."""
    ca_file: str = ""
    """PEM file with the authorities to trust; empty: the system's."""
    connect_timeout_seconds: Positive = 2.0
    """For one TCP and TLS connection."""
    read_timeout_seconds: Positive = 10.0
    """Longest silence while an answer is awaited or read."""
    call_deadline_seconds: Positive = 30.0
    """For one call, however often it is tried; it bounds the largest object too."""


class Archive(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the journal is and how it is written."""

    url: str = "file:///var/lib/archiver"
    """``file:///path``, ``s3://bucket/prefix``, or ``memory:`` (tests)."""
    s3: S3 = S3()
    instance: str = ""
    """Stable name of this writer; empty: the host name. The same instance takes its archive over at once: give every
    installation its own, and never run two of one."""
    takeover_after_seconds: Positive = 30.0
    """How long another instance's journal must be silent before this one fences it."""
    segment_bytes: Annotated[int, Meta(ge=65536, le=67108864)] = 8_388_608
    """A segment is sent when it holds this many uncompressed bytes."""
    buffer_bytes: Annotated[int, Meta(ge=1048576)] = 67_108_864
    """Entries waiting to become durable; sources are not read further when it is full."""
    puts_per_second: Positive = 10.0
    """Budget for PUTs: cost against RPO (docs/explanation/recovery-objectives.md)."""
    put_burst: Count = 20
    """PUTs that may be made at once after a quiet time."""
    heartbeat_seconds: Positive = 10.0
    """An idle journal still proves it is alive this often."""
    stall_seconds: Positive = 60.0
    """A writer that confirmed nothing for this long checks that it still owns the archive before it acknowledges."""
    compression_level: Annotated[int, Meta(ge=1, le=19)] = 1
    """zstd level of segments and baseline parts."""
    allow_unfenced_store: bool = False
    """Write to a store whose create-if-absent does not hold. Two writers then destroy each other's history."""


class Postgres(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One PostgreSQL database."""

    dsn: str
    """libpq connection string or URI without the password; or a secret reference ``env:NAME`` / ``file:PATH`` to a whole one."""
    password: str = ""
    """Secret reference: ``env:NAME`` or ``file:PATH``."""
    slot: str = ""
    """Replication slot; empty: ``archiver_<source name>``. Publications are ``<slot>_key`` and ``<slot>_insert``."""
    schemas: list[str] = []
    """Captured schemas; empty: all but the system's."""
    exclude_tables: list[str] = []
    """``schema.table`` names that are not captured; ``*`` matches within a part."""
    ddl: Literal["auto", "trigger", "poll"] = "auto"
    """How schema changes are noticed: event trigger (superuser), catalog poll, or the trigger where rights allow."""
    poll_seconds: Positive = 10.0
    """Catalog, sequences and slot health are read this often."""
    baseline_jobs: Count = 2
    """Connections that copy tables at the same time."""
    part_bytes: Annotated[int, Meta(ge=65536)] = 33_554_432
    """Uncompressed size of one baseline object."""
    insert_only_snapshot_seconds: Positive = 3600.0
    """Tables whose updates cannot be published are copied again this often, if they changed."""
    slot_timeout_seconds: Positive = 60.0
    """Creating a slot waits for transactions that are open; give up after this and name them."""
    allow_unlimited_wal: bool = False
    """Start although ``max_slot_wal_keep_size`` is -1: a stopped archiver can then fill the source's disk."""
    adopt_new_system: bool = False
    """Accept that the database behind the DSN is another cluster than the journal knows; it is recorded as a gap."""
    on_history_lost: Literal["rebaseline", "stop"] = "rebaseline"
    """When the slot no longer has what follows the journal: record a gap and take a new baseline, or stop this source."""
    streaming: bool = True
    """Receive large transactions while they run, instead of after they were spilled to the source's disk."""
    synchronous: bool = False
    """This archiver is named in ``synchronous_standby_names``: acknowledge every keepalive without delay (RPO = 0)."""
    pg_bin: str = ""
    """Folder with pg_dump and pg_restore; empty: the newest found on PATH and in the usual places."""


class Kubernetes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Custom resources of one cluster."""

    resources: list[str] = msgspec.field(default_factory=lambda: ["*.proompteng.ai"])
    """Group pattern (``*.proompteng.ai``), ``plural.group``, or ``plural`` of the core group."""
    namespaces: list[str] = []
    """Empty: all namespaces (needs cluster-wide rights)."""
    custom_resource_definitions: bool = True
    """Capture the CRDs of the resources too; skipped with a warning where the rights do not allow it."""
    kubeconfig: str = ""
    """Path; empty: in-cluster configuration, else the usual kubeconfig."""
    context: str = ""
    """Context of the kubeconfig; empty: the current one."""
    discovery_seconds: Positive = 60.0
    """New kinds of the patterns are looked for this often."""
    inactivity_seconds: Positive = 90.0
    """A watch that brought neither event nor bookmark for this long is opened anew."""
    list_concurrency: Count = 3
    """Lists at the same time: bounds the load on the API server."""
    page_size: Count = 500
    """Objects per page of a list."""
    verify_seconds: Positive = 3600.0
    """A list is compared with the journal this often."""
    queue_bytes: Annotated[int, Meta(ge=1048576)] = 33_554_432
    """Received and not yet taken by the journal; beyond it watches are cut, a gap is recorded and they list again."""


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Exactly one of the two."""

    postgres: Postgres | None = None
    kubernetes: Kubernetes | None = None


class Web(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Probes, status and metrics."""

    listen: str = ""
    """``host:port``; empty: off."""
    rpo_seconds: Positive = 120.0
    """``/readyz`` fails when what is known to be durable of a source is older than this. Bookmarks prove an idle watch once a minute."""


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
    web: Web = Web()
    log: Log = Log()
    grace_seconds: Positive = 25.0
    """After SIGTERM: time to make everything received durable and acknowledged."""
    retry_seconds: Annotated[float, Meta(gt=0)] = 1.0
    """First pause after a source failed; doubles up to ``retry_limit_seconds``."""
    retry_limit_seconds: Positive = 60.0
    """Longest pause before a failed source is tried again."""
