"""Prometheus metrics from a status."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from archiver import __version__
from archiver.journal.latency import Latencies
from archiver.service.metrics import COUNTERS, GAUGES, RESTARTS, SOURCE_GAUGES, StatusCollector, WriterCollector, names
from archiver.service.status import ArchiveStatus, Drill, SourceLine

FULL = SourceLine(
    name='d"b\n',
    kind="postgres",
    state="streaming",
    newest_change=2_000_000,
    rpo_seconds=1.5,
    checkpoint=4,
    lag_bytes=10,
    retained_bytes=20,
    safe_bytes=30,
    entries=5,
    bytes=6,
    gaps=1,
    failures=2,
    restarts={"list_expired": 3, "unavailable": 4},
    folded=3,
    folded_time=1_500_000,
    tail_seconds=0.5,
    folds=7,
    fold_failures=8,
    history_entry=3,
    history_time=1_250_000,
    history_records=9,
    history_failures=10,
)


def scraped(status: ArchiveStatus) -> dict[tuple[str, ...], float]:
    registry = CollectorRegistry()
    registry.register(StatusCollector(lambda: status))
    text = generate_latest(registry).decode()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items(), reverse=True))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def status(*sources: SourceLine, drill: Drill | None = None) -> ArchiveStatus:
    return ArchiveStatus(
        archive="a",
        url="u",
        segment=7,
        epoch=3,
        last_entry=99,
        last_commit=1,
        age_seconds=2.5,
        buffered_bytes=11,
        sources=list(sources),
        drill=drill,
    )


def test_every_name_has_its_value() -> None:
    """Each metric that is declared appears once per source with the status's value, any name escaped."""
    found = scraped(status(FULL, drill=Drill(3_000_000, 1_000_000, 4.5)))
    seen = {key[0] for key in found}
    assert seen == {*GAUGES, *SOURCE_GAUGES, *(f"{name}_total" for name in COUNTERS), f"{RESTARTS[0]}_total"}
    name = FULL.name
    assert found["archiver_source_up", name] == 1
    assert found["archiver_source_rpo_seconds", name] == 1.5
    assert found["archiver_source_newest_change_timestamp_seconds", name] == 2
    assert found["archiver_source_baseline", name] == 1
    assert [found[f"archiver_source_{each}", name] for each in ("lag_bytes", "retained_wal_bytes", "safe_wal_bytes")] == [10, 20, 30]
    counted = [found[f"archiver_source_{each}_total", name] for each in ("entries", "bytes", "gaps", "failures")]
    assert counted == [5, 6, 1, 2]
    assert found["archiver_source_restarts_total", name, "list_expired"] == 3
    assert [found[each,] for each in ("archiver_segment", "archiver_epoch", "archiver_last_entry", "archiver_buffered_bytes")] == [
        7,
        3,
        99,
        11,
    ]
    assert found["archiver_last_commit_age_seconds",] == 2.5
    assert found["archiver_drill_last_success_timestamp_seconds",] == 3
    assert found["archiver_drill_proven_point_timestamp_seconds",] == 1
    assert found["archiver_drill_duration_seconds",] == 4.5


def test_what_is_not_known_is_left_out() -> None:
    """An unknown figure is no zero: a lag of 0 would be a lie."""
    seen = {key[0] for key in scraped(status(SourceLine(name="db", kind="postgres", state="failed")))}
    assert "archiver_source_up" in seen
    assert seen.isdisjoint(
        {"archiver_source_rpo_seconds", "archiver_source_lag_bytes", "archiver_source_retained_wal_bytes", "archiver_source_safe_wal_bytes"}
    )


def test_an_archive_that_was_never_drilled_says_so() -> None:
    """The alert on stale drills compares with the last success: without one that is 0, never absent."""
    assert scraped(status())["archiver_drill_last_success_timestamp_seconds",] == 0


def test_what_is_captured_no_more_rings_no_alert() -> None:
    """A resource that is not served any more has no series that an alert could compare."""
    found = scraped(status(SourceLine(name="gone", kind="kubernetes", state="ended")))
    assert not [key for key in found if "gone" in key]


def test_latencies_build_and_process_are_scraped() -> None:
    """Histograms in the text format's own words, the build once, and every figure of the process that is declared."""
    counted = Latencies()
    for seconds in (0.004, 0.3, 100):
        counted.add(seconds)
    registry = CollectorRegistry()
    registry.register(WriterCollector(lambda: {"archiver_commit_seconds": counted, "archiver_put_seconds": Latencies()}))
    ProcessCollector(registry=registry)
    text = generate_latest(registry).decode()
    samples = {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}
    assert samples == {
        name for name in names() if not name.startswith("archiver_") or name.startswith(("archiver_b", "archiver_c", "archiver_p"))
    } - {"archiver_buffered_bytes"}
    assert 'archiver_commit_seconds_bucket{le="0.5"} 2.0' in text
    assert 'archiver_commit_seconds_bucket{le="+Inf"} 3.0' in text
    assert "archiver_put_seconds_count 0.0" in text
    assert f'version="{__version__}"' in text
