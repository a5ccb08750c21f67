"""Limits of a writer: their defaults and what they mean. The settings inherit them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from archiver.bounds import Count, Positive


class WriterLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes, rates and times that a writer keeps. Every limit names its unit."""

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
