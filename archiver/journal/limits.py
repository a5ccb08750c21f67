"""Limits of a writer. Defaults are those of ``settings.Archive``, which explains them to users."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WriterLimits:
    """Every limit names its unit."""

    segment_bytes: int = 8_388_608
    buffer_bytes: int = 67_108_864
    puts_per_second: float = 10.0
    put_burst: int = 20
    heartbeat_seconds: float = 10.0
    stall_seconds: float = 60.0
    takeover_after_seconds: float = 30.0
    compression_level: int = 1
