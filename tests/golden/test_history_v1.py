"""History files in format 1, written once and never again: every later version must read them and mean the same by them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from archiver.journal.keys import (
    history_commit_key,
    history_commit_version,
    history_counts_key,
    history_summary_key,
    history_summary_version,
)
from archiver.lake.columns import SCHEMA
from archiver.lake.counts import Lane
from archiver.lake.counts_file import from_counts_file
from archiver.lake.data_file import DataFile, Wanted, hash_of, seal_of
from archiver.lake.delta_log import TableState, follow
from archiver.lake.log_checkpoint import from_summary
from archiver.lake.progress import Identity, KnownMessage, KnownTable, Progress

FOLDER = Path(__file__).parent / "history-v1"


def test_commits_are_read_as_ever() -> None:
    """Files, and how far the journal is covered."""
    key = "history/agents=20db/_delta_log/00000000000000000007.json"
    assert history_commit_key("agents db", 7) == key
    assert (history_commit_version(key), history_commit_version("history/db/_delta_log/7.json")) == (7, None)
    state = TableState()
    follow(state, 0, (FOLDER / "commit.json").read_bytes())
    assert state.files == {"5f1e-000000.parquet": (FOLDER / "records.parquet").stat().st_size}
    assert state.progress == Progress(
        archive="0123456789abcdef0123456789abcdef",
        source="agents-db",
        covered=31,
        segment=3,
        chain="cd" * 32,
        resume_entry=30,
        resume_segment=2,
        era=1,
        from_lsn=5,
        reached=0x16B374D930,
        newest=1_790_000_000_000_001,
        baseline=11,
        relations=[KnownMessage(16400, 12, b"R\x00\x00@\x10public\x00runs\x00d\x00\x00")],
        tables=[KnownTable(16400, "public", "runs", "key", [1])],
        identities=[Identity(16400, [["id"], None])],
    )


def test_records_are_read_as_ever() -> None:
    """Every column, and row groups by key."""
    data = (FOLDER / "records.parquet").read_bytes()
    file = DataFile("records.parquet", len(data), data, seal_of(data))
    assert file.groups(Wanted([16400], ['{"id":"1"}', ""])) == [1]
    assert file.groups(Wanted([0], None)) == [0]
    assert file.groups(Wanted([7], None)) == []
    (whole,) = file.ranges([0, 1])
    rows = file.read([0, 1], [(whole.start, data[whole.start : whole.end])])
    assert rows.schema.equals(SCHEMA)
    found = rows.to_pylist()
    assert [(each["name"], each["key"], each["operation"], each["weight"]) for each in found] == [
        ("", "CHECKPOINT", "entry", 0),
        ("public.runs", "", "copy", 0),
        ("public.runs", '{"id":"1"}', "copied", 1),
        ("public.runs", '{"id":"1"}', "update", 0),
        ("public.runs", '{"id":"1"}', "delete", -1),
    ]
    assert [each["position"] for each in found[2:]] == [
        "000000-00000016b374d848-0000000000000b-1",
        "000000-00000016b374d900-1000000000001d",
        "000000-00000016b374d900-1000000000001e",
    ]
    assert (found[3]["row"], found[3]["unchanged"], found[3]["xid"]) == ('{"id":"1","state":"done"}', ["big"], 771)
    assert (found[4]["old"], found[4]["commit_entry"], found[4]["entry"], found[4]["segment"]) == ('{"id":"1"}', 31, 30, -1)


def test_counts_are_read_as_ever() -> None:
    """What a file counts to, by name, namespace and second."""
    assert history_counts_key("agents db", "5f1e-000000.parquet") == "history/agents=20db/_counts/5f1e-000000.parquet.json.zst"
    found = from_counts_file("k", (FOLDER / "counts.json.zst").read_bytes(), "kube")
    assert found is not None
    assert found.resolution == 1
    assert {lane: [each.tolist() for each in cells] for lane, cells in found.lanes.items()} == {
        Lane("kube", "jobs.batch", "a"): [[1_790_000_000, 1_790_000_007], [3, 1], [1, 0]],
        Lane("kube", "nodes.", ""): [[1_790_000_001], [2], [0]],
    }
    (tags,) = [
        line["add"]["tags"]
        for line in map(msgspec.json.decode, (FOLDER / "commit-with-counts.json").read_bytes().splitlines())
        if "add" in line
    ]
    assert msgspec.json.decode(tags["archiver.seal"])["counts"] == hashlib.sha256((FOLDER / "counts.json.zst").read_bytes()).hexdigest()
    state = TableState()
    follow(state, 0, (FOLDER / "commit-with-counts.json").read_bytes())
    seal = state.seals["5f1e-000000.parquet"]
    assert (seal.counts, seal.counts_bytes) == (
        hash_of((FOLDER / "counts.json.zst").read_bytes()),
        (FOLDER / "counts.json.zst").stat().st_size,
    )


def test_summaries_are_read_as_ever() -> None:
    """Files with what is known of them, and those that are gone."""
    key = "history/db/_summaries/00000000000000000000.json"
    assert (history_summary_key("db", 0), history_summary_version(key)) == (key, 0)
    found = from_summary(0, (FOLDER / "summary.json").read_bytes())
    state = TableState()
    follow(state, 0, (FOLDER / "commit.json").read_bytes())
    assert (found.files, found.told, found.progress) == (state.files, state.told, state.progress)
    assert found.removed == {"5f1d-000000.parquet": 1_790_000_000_000}
    assert (found.version, found.identity, found.created) == (0, "01234567-89ab-cdef-0123-456789abcdef", 1_790_000_000_123)
