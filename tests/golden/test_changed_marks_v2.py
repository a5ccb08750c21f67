"""Segments whose headers carry changed marks, written once and never again: every later version must read them and mean the same by them."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from archiver.journal.changed_marks import ChangedMarks
from archiver.journal.entry import SourceMark
from archiver.journal.keys import IDENTITY, segment_key
from archiver.journal.reader import Reader
from archiver.journal.segment import decode, encode
from archiver.journal.verifier import verify
from archiver.store.memory import MemoryStore
from tests.simulation.loop import inline, play

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FOLDER = Path(__file__).parent / "changed-marks-v2"
EXPECTED: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text())
SEGMENTS: list[dict[str, Any]] = EXPECTED["segments"]


def stored(number: int) -> bytes:
    return (FOLDER / segment_key(number)).read_bytes()


def archive() -> MemoryStore:
    store = MemoryStore()
    store.create(IDENTITY, (FOLDER / IDENTITY).read_bytes())
    for number in range(len(SEGMENTS)):
        store.create(segment_key(number), stored(number))
    return store


def same(found: dict[str, SourceMark], expected: dict[str, list[Any]]) -> bool:
    """Fields that were appended since are not compared."""
    plain = {name: json.loads(msgspec.json.encode(mark)) for name, mark in found.items()}
    return {name: mark[: len(expected.get(name, []))] for name, mark in plain.items()} == expected


def test_the_files_are_the_first_ones() -> None:
    """Nobody regenerated the golden files; both forms are among them, and a mark that ends with a gap."""
    assert [hashlib.sha256(stored(number)).hexdigest() for number in range(len(SEGMENTS))] == [each["stored_sha256"] for each in SEGMENTS]
    assert {each["version"] for each in SEGMENTS} == {1, 2}
    assert "resource_gone" in SEGMENTS[-1]["marks"]["kube/example.org/kind5@ns"]


def test_each_carries_what_it_carried() -> None:
    """Version, base and marks; encoding the same again gives the same chain, and with the same zstd the same bytes."""
    for number, expected in enumerate(SEGMENTS):
        data = stored(number)
        segment = decode(data, number)
        marks = segment.header.sources
        assert data[7] == data[-1] == segment.header.version == expected["version"]
        assert (marks.base if isinstance(marks, ChangedMarks) else None) == expected["base"]
        assert same(dict(marks.changed if isinstance(marks, ChangedMarks) else marks), expected["carried"])
        again, footer = encode(segment.header, segment.runs, EXPECTED["level"])
        assert footer == segment.footer
        assert footer.chain.hex() == expected["chain"]
        if zstd.zstd_version == EXPECTED["libzstd"]:
            assert again == data


def test_all_marks_are_read_behind_each() -> None:
    """By header, whatever it carries, and the whole archive verifies."""

    async def story() -> None:
        for number, expected in enumerate(SEGMENTS):
            header = await Reader(archive(), offload=inline).header(number)
            assert header is not None
            assert same(dict(header.sources), expected["marks"])
        report = await verify(archive(), offload=inline)
        assert (report.reason, report.segments) == ("", len(SEGMENTS))

    play(story())
