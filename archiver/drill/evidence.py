"""What a drill leaves for whoever must show that backups are tried: one document as JSON, and the same to be read as Markdown.

It names what was restored and has counts and hashes of it. Of rows and objects it holds nothing but the values that the owner's own
assertions ask for; of connection strings no secret.
"""

from __future__ import annotations

import os
import platform
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from archiver import __version__, disk
from archiver.clock import to_text
from archiver.journal.drill_reports import AssertionOutcome, DrillReport
from archiver.replay.postgres.restore import HashedDatabase
from archiver.terminal import visible, visible_json

FORMAT = "archiver-drill-evidence"
VERSION = 1


class TableEvidence(msgspec.Struct, frozen=True):
    """One restored table."""

    name: str
    """``schema.table``."""
    rows: int
    bytes: int = 0
    """Of COPY text; 0: it was not read back."""
    sha256: str = ""
    """Of COPY text in the order of the primary key's text, or of the rows' where there is none; empty: it was not read back."""
    note: str = ""


class SourceEvidence(msgspec.Struct, kw_only=True):
    """One restored source."""

    source: str
    target: str
    """Where it was restored to, without secrets."""
    entry: int
    """The last entry of the journal in use."""
    moment: str
    """Its time."""
    lsn: str = ""
    """Of a database."""
    captured_from: str = ""
    """The server's version, or the cluster's identity."""
    restored_into: str = ""
    """Version of the scratch server."""
    tables: list[TableEvidence] = []
    objects: dict[str, int] = {}
    """By kind: how many."""
    notes: list[str] = []


class Evidence(msgspec.Struct, kw_only=True):
    """The document. Later versions may add fields."""

    format: str = FORMAT
    version: int = VERSION
    passed: bool
    started: str
    finished: str
    asked: str
    """The point, as it was asked for."""
    proven_up_to: str
    restore_seconds: float
    archive: str = ""
    """Its identifier."""
    url: str
    head: str = ""
    """``HASH@NUMBER`` of the newest segment that was verified, as ``verify --known-head`` takes it."""
    segments: int = 0
    entries: int = 0
    versions: dict[str, str]
    steps: list[dict[str, Any]]
    sources: list[SourceEvidence] = []
    assertions: list[AssertionOutcome] = []
    doubts: list[str] = []


def versions() -> dict[str, str]:
    """Of what did the drill."""
    return {"archiver": __version__, "python": platform.python_version(), "system": platform.platform()}


def with_hashes(source: SourceEvidence, found: HashedDatabase) -> None:
    """Add what the restored database itself says of its tables."""
    source.restored_into = f"PostgreSQL {found.server_version}"
    source.tables = [TableEvidence(f"{each.schema}.{each.name}", each.rows, each.bytes, each.sha256, each.fault) for each in found.tables]


def complete(evidence: Evidence, report: DrillReport) -> None:
    """Take over what the report says at the end."""
    evidence.passed = report.passed
    evidence.finished = to_text(report.finished)
    evidence.proven_up_to = to_text(report.point) if report.point else ""
    evidence.restore_seconds = report.restore_seconds
    evidence.steps = [
        {"name": each.name, "seconds": each.seconds, "ok": each.ok, "detail": each.detail, "exit_code": each.exit_code}
        for each in report.steps
    ]
    evidence.assertions = report.assertions
    evidence.doubts = report.doubts


def prepare(folder: Path) -> None:
    """Make the folder, and see that a file can be made there: better before the drill than after it. Raises as ``disk.explained``."""
    with disk.errors("write the evidence of the drill", folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def write(evidence: Evidence, folder: Path, moment: int) -> list[Path]:
    """Both files, named by ``moment``; a reader never sees half of one. ``Unavailable`` or ``Invalid`` where it cannot be written."""
    name = "drill-" + to_text(moment).replace(":", "").replace("-", "")
    texts = {
        folder / f"{name}.json": visible_json(msgspec.json.format(msgspec.json.encode(evidence), indent=2).decode()).encode() + b"\n",
        folder / f"{name}.md": markdown(evidence).encode(),
    }
    with disk.errors("write the evidence of the drill", folder):
        for path, text in texts.items():
            partial = path.with_name(f".{path.name}.partial")
            partial.write_bytes(text)
            os.replace(partial, path)  # noqa: PTH105
    return list(texts)


def markdown(evidence: Evidence) -> str:
    """For people."""
    lines = [
        f"# Drill of {evidence.finished}: {'passed' if evidence.passed else 'FAILED'}",
        "",
        *_table(
            ["", ""],
            [
                ["started", evidence.started],
                ["finished", evidence.finished],
                ["archive", f"{evidence.archive} at {evidence.url}"],
                ["head", evidence.head],
                ["verified", f"{evidence.segments} segments, {evidence.entries} entries"],
                ["point", evidence.asked],
                ["proven up to", evidence.proven_up_to],
                ["restore time", f"{evidence.restore_seconds:.2f} s"],
                *([name, text] for name, text in evidence.versions.items()),
            ],
        ),
        "## Steps",
        "",
        *_table(
            ["step", "seconds", "", "detail"],
            [[each["name"], f"{each['seconds']:.2f}", "ok" if each["ok"] else "FAILED", each["detail"]] for each in evidence.steps],
        ),
    ]
    for source in evidence.sources:
        lines += _source(source)
    if evidence.assertions:
        lines += ["## Assertions", ""]
        rows = [
            [each.name, each.source, "holds" if each.holds else "DOES NOT HOLD", each.expected, each.found] for each in evidence.assertions
        ]
        lines += _table(["assertion", "source", "", "expected", "found"], rows)
    lines += ["## Not certain", "", *([f"- {_cell(text)}" for text in evidence.doubts] or ["Nothing."]), ""]
    return "\n".join(lines)


def _source(source: SourceEvidence) -> list[str]:
    facts = [
        ["restored into", " ".join(filter(None, (source.target, source.restored_into and f"({source.restored_into})")))],
        ["captured from", source.captured_from],
        ["last entry", f"{source.entry}, {source.moment}"],
        *([["LSN", source.lsn]] if source.lsn else []),
    ]
    lines = [f"## {_cell(source.source)}", "", *_table(["", ""], facts)]
    if source.tables:
        rows = [[each.name, str(each.rows), each.sha256 or "-", each.note] for each in source.tables]
        lines += _table(["table", "rows", "SHA-256 of its rows", ""], rows)
    if source.objects:
        lines += _table(["kind", "objects"], [[kind, str(number)] for kind, number in source.objects.items()])
    return lines + [f"- {_cell(note)}" for note in source.notes] + ([""] if source.notes else [])


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [_line(head), _line(["---"] * len(head)), *map(_line, rows), ""]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(_cell(each) for each in cells)} |"


def _cell(text: str) -> str:
    """Text of a source as text: neither markup nor another cell."""
    shown = visible(text)
    for sign in "\\`*_{}[]<>|#~!&":
        shown = shown.replace(sign, f"\\{sign}")
    return shown
