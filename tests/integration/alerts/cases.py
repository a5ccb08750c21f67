"""When each alert of the chart must fire, and when it must not."""

from __future__ import annotations

from typing import NamedTuple

DB, STREAM = {"source": "agents-db"}, {"source": "agents/tools.proompteng.ai/toolruns@agents"}
DAY = 24 * 60
SLOW = "5m"


class Case(NamedTuple):
    """Series, each a metric with its labels and values, and when an alert fires for them."""

    alert: str
    series: dict[str, tuple[dict[str, str], str]]
    fires: dict[str, str]
    """Time -> the summary. At every other time that is asked it must be silent."""
    silent: tuple[str, ...] = ()
    step: str = "1m"
    """Between two values. Rules are evaluated every minute; where days pass, every half hour."""


def of(metric: str, values: str, labels: dict[str, str] | None = None) -> dict[str, tuple[dict[str, str], str]]:
    return {f"archiver_{metric}": (labels or {}, values)}


GAP_DB = "History of agents-db has a gap"
GAP_STREAM = f"History of {STREAM['source']} has a gap"
NEVER = "No drill has ever proven a restore"
STALE = "No drill has proven a restore for two days"
CASES = {
    "nobody": Case("ArchiverDown", {}, {"6m": "No archiver is running"}, ("4m",)),
    "it ended": Case("ArchiverDown", of("epoch", "1x10 _x30"), {"25m": "No archiver is running"}, ("10m", "15m")),
    "it runs": Case("ArchiverDown", of("epoch", "3x60"), {}, ("1m", "10m", "60m")),
    "a restart": Case("ArchiverDown", of("epoch", "3x10 _x3 4x40"), {}, ("12m", "15m", "20m")),
    "the store hangs": Case(
        "ArchiverNotDurable", of("last_commit_age_seconds", "121+60x10"), {"5m": "The journal has not become durable for 7m 1s"}, ("1m",)
    ),
    "heartbeats": Case("ArchiverNotDurable", of("last_commit_age_seconds", "0 10 119 1 119 10x10"), {}, ("3m", "5m", "10m")),
    "one slow commit": Case("ArchiverNotDurable", of("last_commit_age_seconds", "130 140 5x10"), {}, ("1m", "2m", "3m", "5m")),
    "a source ended": Case("ArchiverSourceDown", of("source_up", "1 0x20", DB), {"6m": "Source agents-db is not captured"}, ("5m",)),
    "a source reconnects": Case("ArchiverSourceDown", of("source_up", "0 0 0 0 1 0 0 0 0 1x20", DB), {}, ("4m", "8m", "15m")),
    "behind": Case("ArchiverSourceBehind", of("source_rpo_seconds", "301x20", DB), {"5m": "Source agents-db is 5m 1s behind"}, ("4m",)),
    "nearly behind": Case("ArchiverSourceBehind", of("source_rpo_seconds", "300x20", DB), {}, ("5m", "20m")),
    "much WAL": Case(
        "ArchiverWalRetained",
        of("source_retained_wal_bytes", "3221225472x20", DB),
        {"5m": "Source agents-db retains 3GiB of WAL"},
        ("4m",),
    ),
    "little WAL, and a small limit": Case(
        "ArchiverWalRetained",
        of("source_retained_wal_bytes", "67108864x20", DB) | of("source_safe_wal_bytes", "33554432x20", DB),
        {"5m": "Source agents-db retains 64MiB of WAL"},
    ),
    "little WAL": Case(
        "ArchiverWalRetained",
        of("source_retained_wal_bytes", "67108864x20", DB) | of("source_safe_wal_bytes", "4294967296x20", DB),
        {},
        ("5m", "20m"),
    ),
    "a gap of a database": Case("ArchiverGap", of("source_gaps_total", "0x10 1x120", DB), {"11m": GAP_DB, "60m": GAP_DB}, ("10m", "90m")),
    "a gap found at the start": Case("ArchiverGap", of("source_gaps_total", "_x5 1x120", DB), {"6m": GAP_DB, "60m": GAP_DB}, ("2m", "75m")),
    "a start without gaps": Case("ArchiverGap", of("source_gaps_total", "_x5 0x120", DB), {}, ("6m", "60m")),
    "a restart behind a gap": Case("ArchiverGap", of("source_gaps_total", "2x100 0x100", DB), {}, ("95m", "101m", "150m")),
    "watches that end once": Case("ArchiverGap", of("source_gaps_total", "0x90 3x90", STREAM), {}, ("91m", "120m", "149m")),
    "scrapes beside the minute": Case("ArchiverGap", of("source_gaps_total", "0x90 3x290", STREAM), {}, ("61m", "75m", "100m"), "35s"),
    "watches that end often": Case("ArchiverGap", of("source_gaps_total", "0x90 4x90", STREAM), {"91m": GAP_STREAM}, ("90m", "160m")),
    "watches that ended before the first scrape": Case(
        "ArchiverGap", of("source_gaps_total", "_x5 4x90", STREAM), {"6m": GAP_STREAM}, ("3m", "75m")
    ),
    "no baseline": Case(
        "ArchiverNoBaseline", of("source_baseline", "0x90", DB), {"60m": "Source agents-db has no complete baseline"}, ("59m",)
    ),
    "a long baseline": Case("ArchiverNoBaseline", of("source_baseline", "0x50 1x60", DB), {}, ("49m", "60m", "100m")),
    "drills ended": Case(
        "ArchiverDrillStale",
        of("drill_last_success_timestamp_seconds", "0x11 3600x1000"),
        {f"{2 * DAY + 180}m": STALE},
        (f"{2 * DAY}m", f"{2 * DAY + 60}m"),
        SLOW,
    ),
    "never a drill": Case(
        "ArchiverDrillStale", of("drill_last_success_timestamp_seconds", "0x1000"), {f"{2 * DAY}m": NEVER}, (f"{2 * DAY - 60}m",), SLOW
    ),
    "a drill a day": Case(
        "ArchiverDrillStale",
        of("drill_last_success_timestamp_seconds", "0x119 36000x287 122400x287 208800x287"),
        {},
        (f"{DAY}m", f"{2 * DAY}m", f"{3 * DAY}m"),
        SLOW,
    ),
    "a drill failed": Case("ArchiverDrillFailed", of("drill_failed_sources", "0x5 1x20"), {"7m": "A drill found something wrong"}, ("4m",)),
    "a failed drill was made good": Case("ArchiverDrillFailed", of("drill_failed_sources", "1x5 0x20"), {}, ("8m", "20m")),
}
