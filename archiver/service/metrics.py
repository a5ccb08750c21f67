"""Prometheus metrics, read from the status at each scrape: what is shown and what is measured cannot differ."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from archiver import __version__
from archiver.journal.latency import Latencies
from archiver.service.status import ArchiveStatus, Drill

GAUGES = {
    "archiver_last_commit_age_seconds": "Seconds since the newest segment became durable.",
    "archiver_last_entry": "Sequence number of the newest durable entry.",
    "archiver_segment": "Number of the newest durable segment.",
    "archiver_epoch": "Epoch of this writer's session.",
    "archiver_buffered_bytes": "Bytes received and not yet durable.",
    "archiver_drill_last_success_timestamp_seconds": "When a drill last proved a restore, of the source proven longest ago; 0 for never.",
    "archiver_drill_proven_point_timestamp_seconds": "The point in time that this drill restored; 0 for none.",
    "archiver_drill_duration_seconds": "How long that drill's restore took: the measured RTO; 0 for none.",
    "archiver_drill_failed_sources": "Sources of which a drill found something wrong and none has passed since.",
    "archiver_drill_failed_assertions": "Assertions about them that did not hold in that drill.",
}
"""Of the archive as a whole."""

SOURCE_GAUGES = {
    "archiver_source_up": "1 while the source streams, else 0.",
    "archiver_source_rpo_seconds": "Age of the newest moment up to which everything is durable: what a loss of the source now would cost.",
    "archiver_source_newest_change_timestamp_seconds": "The source's own time of its newest durable change; 0 where it gives none.",
    "archiver_source_lag_bytes": "WAL written at the source and not yet durable in the journal.",
    "archiver_source_retained_wal_bytes": "WAL that the source keeps for this archive.",
    "archiver_source_safe_wal_bytes": "WAL that the source can still write before it drops what has not been read.",
    "archiver_source_unknown": "1 while the source, or part of it, is not known although it is asked for: a restore has a gap; else 0.",
    "archiver_source_unmatched_selectors": "Lines of the source's settings that select nothing.",
    "archiver_source_folded_checkpoint_timestamp_seconds": "Journal time of the newest folded checkpoint; 0 for none.",
    "archiver_source_tail_seconds": "What a restore would take, as estimated, for what stands behind the newest checkpoint.",
    "archiver_source_history_timestamp_seconds": "The newest time that the source gave for what its history files have.",
    "archiver_source_baseline": "1 once a complete baseline exists, else 0.",
}
"""By source."""

COUNTERS = {
    "archiver_source_entries": "Entries received.",
    "archiver_source_bytes": "Bytes received.",
    "archiver_source_gaps": "Gaps recorded since this process started.",
    "archiver_source_failures": "Attempts that failed since this process started.",
    "archiver_source_folds": "Folded checkpoints made since this process started.",
    "archiver_source_fold_failures": "Tries to fold that failed since this process started.",
    "archiver_source_history_records": "Records of history files written since this process started.",
    "archiver_source_history_failures": "Tries to write history files that failed since this process started.",
}
"""By source; the text format appends ``_total``."""

HISTOGRAMS = {
    "archiver_commit_seconds": "From sealing a segment until it is durable: waiting for the one before, encoding, every try to create it.",
    "archiver_put_seconds": "Each try to create a segment or a part of a baseline, with an answer or without one.",
}
"""Of this process's writer; the text format appends ``_bucket``, ``_sum`` and ``_count``."""

BUILD = ("archiver_build_info", "1, with the version of the archiver and of Python that run.")

PROCESS = {
    "process_cpu_seconds_total": "User and system CPU time of this process; the process that folds is another one.",
    "process_max_fds": "Files that it may have open.",
    "process_open_fds": "Files that it has open.",
    "process_resident_memory_bytes": "Resident memory.",
    "process_start_time_seconds": "When it started, seconds since 1970.",
    "process_virtual_memory_bytes": "Virtual memory.",
}
"""Read in /proc at each scrape, by the client library."""

RESTARTS = ("archiver_source_restarts", "Reconnects and relists since this process started, by cause.")


class WriterCollector(Collector):
    """Build and latencies of this process. ``latencies``: by name in ``HISTOGRAMS``; empty before it writes."""

    def __init__(self, latencies: Callable[[], Mapping[str, Latencies]]) -> None:
        self._latencies = latencies

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing, as ``StatusCollector``."""
        return []

    def collect(self) -> Iterable[GaugeMetricFamily | HistogramMetricFamily]:
        """The families of one scrape."""
        build = GaugeMetricFamily(*BUILD, labels=["version", "python"])
        build.add_metric([__version__, platform.python_version()], 1.0)
        yield build
        for name, counted in self._latencies().items():
            buckets = [("+Inf" if bound == float("inf") else f"{bound:g}", float(count)) for bound, count in counted.cumulative()]
            family = HistogramMetricFamily(name, HISTOGRAMS[name])
            family.add_metric([], buckets, counted.seconds)
            yield family


def names() -> set[str]:
    """Every series that can be scraped."""
    found = {*GAUGES, *SOURCE_GAUGES, *(f"{name}_total" for name in COUNTERS), f"{RESTARTS[0]}_total", BUILD[0], *PROCESS}
    return found | {f"{name}_{part}" for name in HISTOGRAMS for part in ("bucket", "sum", "count")}


class StatusCollector(Collector):
    """Turns one ``ArchiveStatus`` into metric families. Values that are not known, and sources that are captured no more, are left out."""

    def __init__(self, status: Callable[[], ArchiveStatus]) -> None:
        self._status = status

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing: the registry must not scrape at registration, when the writer does not exist yet."""
        return []

    def collect(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        """The families of one scrape."""
        status = self._status()
        whole: dict[str, float] = {
            "archiver_last_commit_age_seconds": status.age_seconds,
            "archiver_last_entry": status.last_entry,
            "archiver_segment": status.segment,
            "archiver_epoch": status.epoch,
            "archiver_buffered_bytes": status.buffered_bytes,
        }
        # An archive that was never drilled must not look like one that nobody asked: its alert compares with 0.
        drill = status.drill or Drill(0, 0, 0.0)
        whole["archiver_drill_last_success_timestamp_seconds"] = drill.finished / 1e6
        whole["archiver_drill_proven_point_timestamp_seconds"] = drill.point / 1e6
        whole["archiver_drill_duration_seconds"] = drill.seconds
        whole["archiver_drill_failed_sources"] = status.failed_drills.sources
        whole["archiver_drill_failed_assertions"] = status.failed_drills.assertions
        for name, value in whole.items():
            family = GaugeMetricFamily(name, GAUGES[name])
            family.add_metric([], value)
            yield family
        yield from self._sources(status)

    def _sources(self, status: ArchiveStatus) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        gauges = {name: GaugeMetricFamily(name, text, labels=["source"]) for name, text in SOURCE_GAUGES.items()}
        counters = {name: CounterMetricFamily(name, text, labels=["source"]) for name, text in COUNTERS.items()}
        restarts = CounterMetricFamily(*RESTARTS, labels=["source", "cause"])
        for line in status.sources:
            if line.state == "ended":
                continue
            known: dict[str, float | None] = {
                "archiver_source_up": float(line.state == "streaming"),
                "archiver_source_rpo_seconds": line.rpo_seconds,
                "archiver_source_newest_change_timestamp_seconds": line.newest_change / 1e6,
                "archiver_source_lag_bytes": line.lag_bytes,
                "archiver_source_retained_wal_bytes": line.retained_bytes,
                "archiver_source_safe_wal_bytes": line.safe_bytes,
                "archiver_source_unknown": float(line.unknown_since is not None),
                "archiver_source_unmatched_selectors": len(line.unmatched),
                # Not known before the first look; and who folds elsewhere is not asked.
                "archiver_source_folded_checkpoint_timestamp_seconds": line.folded_time / 1e6 if line.tail_seconds is not None else None,
                "archiver_source_tail_seconds": line.tail_seconds,
                # Not known before the first addition.
                "archiver_source_history_timestamp_seconds": line.history_time / 1e6 if line.history_entry else None,
                "archiver_source_baseline": float(bool(line.checkpoint)),
            }
            for name, value in known.items():
                if value is not None:
                    gauges[name].add_metric([line.name], value)
            counted = {
                "archiver_source_entries": line.entries,
                "archiver_source_bytes": line.bytes,
                "archiver_source_gaps": line.gaps,
                "archiver_source_failures": line.failures,
                "archiver_source_folds": line.folds,
                "archiver_source_fold_failures": line.fold_failures,
                "archiver_source_history_records": line.history_records,
                "archiver_source_history_failures": line.history_failures,
            }
            for name, count in counted.items():
                counters[name].add_metric([line.name], count)
            for cause, count in line.restarts.items():
                restarts.add_metric([line.name, cause], count)
        yield from gauges.values()
        yield from counters.values()
        yield restarts
