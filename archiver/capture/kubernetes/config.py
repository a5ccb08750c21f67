"""What a Kubernetes source needs to know; the service makes it from the settings."""

from __future__ import annotations

import msgspec


class KubernetesConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One cluster. Fields that the settings have too mean what ``settings.model.Kubernetes`` says."""

    resources: list[str]
    namespaces: list[str] = []
    custom_resource_definitions: bool = True
    kubeconfig: str = ""
    context: str = ""
    discovery_seconds: float = 60.0
    inactivity_seconds: float = 90.0
    list_concurrency: int = 3
    page_size: int = 500
    verify_seconds: float = 3600.0
    queue_bytes: int = 33_554_432
    heartbeat_seconds: float = 10.0
    """A position without changes is journaled at most this often (``archive.heartbeat_seconds``)."""
