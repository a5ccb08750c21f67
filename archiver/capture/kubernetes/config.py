"""What a Kubernetes source needs to know: the options that a user sets, and what the service adds."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from archiver.bounds import Count, Positive


class KubernetesOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a user may set of one cluster. The settings inherit it."""

    resources: list[str] = msgspec.field(default_factory=lambda: ["*.proompteng.ai"])
    """Group pattern (``*.proompteng.ai``), ``plural.group``, or ``plural`` of the core group."""
    namespaces: list[str] = []
    """Empty: all namespaces (needs cluster-wide rights)."""
    custom_resource_definitions: bool = True
    """Capture the CRDs of the resources too; skipped with a warning where the rights do not allow it."""
    redact: list[str] = []
    """``plural.group/path`` of fields whose values are never captured, like ``runs.example.com/spec.env[*].value``. ``*`` is every member
    or element, a name with dots stands in brackets (``metadata.annotations[a.b/c]``), the resource may be written as in ``resources``. The
    annotation of ``kubectl apply`` is cut, too. An object says which paths were cut; a restore leaves them out and names them. What was
    captured before stays. Other copies of a value (a status that repeats it, other annotations) need lines of their own."""
    strict: bool = False
    """A kind that may not be read, a line of ``resources`` that selects nothing and a namespace that does not exist are refused, and count
    against readiness. Otherwise each costs itself alone, and is named by check, log, readiness and metrics."""
    kubeconfig: str = ""
    """Path; empty: in-cluster configuration, else the usual kubeconfig."""
    context: str = ""
    """Context of the kubeconfig; empty: the current one."""
    discovery_seconds: Positive = 60.0
    """New kinds of the patterns are looked for this often."""
    inactivity_seconds: Positive = 180.0
    """A watch that brought neither event nor bookmark for this long is opened anew. Bookmarks come about once a minute."""
    list_concurrency: Count = 3
    """Lists at the same time: bounds the load on the API server."""
    page_size: Count = 500
    """Objects per page of a list."""
    verify_seconds: Positive = 3600.0
    """A list is compared with the journal this often."""
    queue_bytes: Annotated[int, Meta(ge=1048576)] = 33_554_432
    """Received and not yet taken by the journal; beyond it watches are cut, a gap is recorded and they list again."""


class KubernetesConfig(KubernetesOptions, frozen=True, kw_only=True):
    """One cluster as capture uses it."""

    heartbeat_seconds: float = 10.0
    """A position without changes is journaled at most this often (``archive.heartbeat_seconds``)."""
