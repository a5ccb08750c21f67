"""What a restore did, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archiver.cli import output

if TYPE_CHECKING:
    from archiver.restore import RestoredSource


def print_done(done: RestoredSource) -> None:
    """What the restore of one source did, for people."""
    from archiver.cli.excerpts import print_done as print_excerpt
    from archiver.replay.kubernetes.restore import ClusterReport, FolderReport
    from archiver.replay.postgres.restore import ExcerptReport, RestoreReport

    output.heading(done.source, f" -> {done.target}")
    output.facts([("not certain", text) for text in done.doubts])
    report = done.report
    if isinstance(report, RestoreReport):
        output.facts(
            [
                ("rows", report.rows),
                ("seconds", ", ".join([f"{report.seconds:.2f}", *(f"{step} {seconds:.2f}" for step, seconds in report.steps.items())])),
                ("sequences", report.sequences),
                *(("dropped first", text) for text in report.dropped),
                *(("note", text) for text in report.notes),
                *(("not included", text) for text in report.not_included),
                *(("left out", str(each)) for each in report.left_out),
                *([("left out, as SQL", report.left_out_file)] if report.left_out_file else []),
            ]
        )
        output.table(
            "", ["table", "rows", "changes folded in"], [(f"{each.schema}.{each.name}", each.rows, each.changes) for each in report.tables]
        )
    elif isinstance(report, ClusterReport):
        output.facts(
            [
                ("created", report.created),
                ("replaced", report.replaced),
                ("merged", report.merged),
                ("deleted", report.deleted),
                ("skipped", report.skipped),
                *(("kept", text) for text in report.kept),
                ("with status", report.statuses),
                *(("owner left out", text) for text in report.orphans),
                *(("deleted, not gone yet", text) for text in report.going),
                *(("lists as captured", text) for text in report.whole),
                *(("fields not given back", text) for text in report.managers),
                *(("not undone", text) for text in report.undone),
                *(("not taken", text) for text in report.failures),
                *(("differs", text) for text in report.differences),
            ]
        )
    elif isinstance(report, ExcerptReport):
        print_excerpt(report)
    elif isinstance(report, FolderReport):
        output.facts([("files", report.files), ("folder", report.folder)])
