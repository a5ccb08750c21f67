"""An archive in format 1, written once and never again: every later version must read it and mean the same by it."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from archiver.journal.entry import Kind, Run
from archiver.journal.keys import IDENTITY, segment_key
from archiver.journal.segment import Segment, decode, encode
from archiver.journal.verifier import verify
from archiver.store.memory import MemoryStore
from tests.simulation.loop import inline, play

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FOLDER = Path(__file__).parent / "journal-v1"
EXPECTED: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text())
NUMBERS = range(len(EXPECTED["segments"]))
RENAMED = {"slot": "number"}
"""Fields that the expectations, which are never written again, call by an older name. The stored arrays carry no names."""


def stored(number: int) -> bytes:
    return (FOLDER / segment_key(number)).read_bytes()


def sha(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


def plain(value: Any) -> Any:
    """A struct as JSON shows it, bytes in hex."""
    fields = {name: getattr(value, name) for name in value.__struct_fields__}
    return json.loads(msgspec.json.encode({name: field.hex() if isinstance(field, bytes) else field for name, field in fields.items()}))


def said(run: Run) -> dict[str, Any]:
    return {
        "source": run.source,
        "kind": run.kind.name,
        "number": int(run.kind),
        "observed": run.observed,
        "changed": run.changed,
        "position": run.position,
        "count": run.count,
        "lengths_sha256": sha(run.lengths),
        "data_sha256": sha(run.data),
    }


def check(segment: Segment, expected: dict[str, Any]) -> None:
    """Fields that were appended since are not compared."""
    header, footer = plain(segment.header), plain(segment.footer)
    marks = {name: mark[: len(expected["header"]["sources"][name])] for name, mark in header["sources"].items()}
    assert {**{name: header[RENAMED.get(name, name)] for name in expected["header"]}, "sources": marks} == expected["header"]
    assert {name: footer[name] for name in expected["footer"]} == expected["footer"]
    assert [said(run) for run in segment.runs] == expected["runs"]


def test_the_files_are_the_first_ones() -> None:
    """Nobody regenerated the golden files."""
    assert [sha(stored(number)) for number in NUMBERS] == [segment["stored_sha256"] for segment in EXPECTED["segments"]]


@pytest.mark.parametrize("number", NUMBERS)
def test_it_is_read_as_it_was_written(number: int) -> None:
    """Every header, footer, mark and run means what it meant."""
    check(decode(stored(number), number), EXPECTED["segments"][number])


@pytest.mark.parametrize("number", NUMBERS)
def test_it_would_be_written_the_same(number: int) -> None:
    """Encoding the same header and runs gives the same hashes; with the same zstd, the same bytes."""
    segment = decode(stored(number), number)
    data, footer = encode(segment.header, segment.runs, EXPECTED["level"])
    assert footer == segment.footer
    check(decode(data, number), EXPECTED["segments"][number])
    if zstd.zstd_version == EXPECTED["libzstd"]:
        assert data == stored(number)


def test_it_verifies() -> None:
    """The whole archive passes, with its void segment where it was."""
    store = MemoryStore()
    store.create(IDENTITY, (FOLDER / IDENTITY).read_bytes())
    for number in NUMBERS:
        store.create(segment_key(number), stored(number))
    report = play(verify(store, offload=inline))
    assert report.reason == ""
    assert report.void == EXPECTED["void"]


def test_every_kind_is_in_it() -> None:
    """Numbers of kinds are stored: the first ones keep their meaning for ever."""
    kinds = {run["number"]: run["kind"] for segment in EXPECTED["segments"] for run in segment["runs"]}
    assert len(kinds) == 16
    assert {number: Kind(number).name for number in kinds} == kinds
