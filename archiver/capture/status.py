"""What a running source says of itself: one shape for every kind, shown by ``status``, probes, metrics and logs."""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["starting", "baseline", "streaming", "stopping", "stopped", "failed"]


class SourceStatus(msgspec.Struct, kw_only=True):
    """A snapshot of one source. Times are microseconds since 1970, 0 unknown; sizes bytes, ``None`` unknown."""

    name: str
    kind: Literal["postgres", "kubernetes"]
    state: State = "starting"
    detail: str = ""
    """One sentence for people: what it waits for, why it failed."""
    received: str = ""
    """Position received from the source."""
    durable: str = ""
    """Position that is in the journal."""
    acknowledged: str = ""
    """Position confirmed to the source: never beyond ``durable``."""
    source_position: str = ""
    """Where the source itself is."""
    newest_change: int = 0
    observed: int = 0
    """When the last message of any kind arrived (keepalives and bookmarks too)."""
    last_baseline: int = 0
    lag_bytes: int | None = None
    retained_bytes: int | None = None
    safe_bytes: int | None = None
    """How much more the source can write before it drops what we have not read."""
    unknown_since: int | None = None
    """Nothing is known of it since then although it is selected, 0: never was; ``None``: it is captured."""
    tolerated: bool = False
    """What is wrong with it costs it alone, and is no reason against the others."""
    unmatched: list[str] = []
    """Lines of its settings that select nothing: they may be misspelt."""
    strict: bool = False
    """A line that selects nothing is a reason against readiness."""
    frames: int = 0
    bytes: int = 0
    gaps: int = 0
    restarts: dict[str, int] = {}
    """Reconnects and relists by cause."""
    warnings: list[str] = []
    parts: list[SourceStatus] = []
    """Streams of a source that has several (one per resource)."""
