"""A folded checkpoint of a cluster in format 1, written once and never again: every later version must read it and mean the same by it."""

from __future__ import annotations

from pathlib import Path

from archiver.journal.keys import checkpoint_entry
from archiver.journal.parts import Part
from archiver.journal.records import Gap
from archiver.kubernetes.checkpoint_records import (
    ClusterCheckpoint,
    StreamCheckpoint,
    decode_cluster_checkpoint,
    object_lines,
    read_objects,
    state_of,
)
from archiver.kubernetes.records import Listing, Resource
from archiver.kubernetes.stream_state import KnownObject

FOLDER = Path(__file__).parent / "cluster-checkpoint-v1"
KEY = "checkpoints/agents/ffffffffffffcfc7.json"
ARCHIVE = "0123456789abcdef0123456789abcdef"
RUNS = Resource("agents.proompteng.ai", "v1alpha1", "agentruns", "AgentRun", True)
ZONES = Resource("agents.proompteng.ai", "v1alpha1", "zones", "Zone", False)
PART = Part("parts/agents/5f1e/000000.zst", 2, 240, 308, "ab" * 32)
OBJECTS = [
    (("agents", "run-1"), KnownObject("u-1", "17", 1_790_000_000_000_001, 12001, b'{"metadata":{"name":"run-1","note":"a\\nb"}}')),
    (("", "zone \u00e9"), KnownObject("u-2", "18", 1_790_000_000_000_002, 12002, b'{\n"metadata":{}}')),
]
CHECKPOINT = ClusterCheckpoint(
    archive=ARCHIVE,
    source="agents",
    entry=12344,
    time=1_790_000_000_000_009,
    segment=77,
    chain="cd" * 32,
    streams=[
        StreamCheckpoint(
            name="agents/agents.proompteng.ai/agentruns@agents",
            through=12340,
            segment=77,
            received=1_790_000_000_000_007,
            observed=1_790_000_000_000_006,
            resource=RUNS,
            namespace="agents",
            cluster="ca=x uid=y",
            server="https://10.0.0.1:6443",
            epoch=2,
            listing=Listing(RUNS, "agents", 2, "16", 1, 11990, "verify"),
            heard=1_790_000_000_000_005,
            position="18",
            count=2,
            parts=[PART],
        ),
        StreamCheckpoint(
            name="agents/agents.proompteng.ai/zones",
            through=9000,
            segment=60,
            received=1_780_000_000_000_000,
            observed=1_780_000_000_000_000,
            resource=ZONES,
            cluster="ca=x uid=y",
            server="https://10.0.0.1:6443",
            epoch=2,
            listing=Listing(ZONES, "", 2, "9", 0, 8000, "start"),
            heard=1_780_000_000_000_000,
            position="9",
            ended=True,
            selected=False,
            unwatched=Gap("zones", "unwatched", detail="no right to list"),
            count=0,
        ),
    ],
    made=1_790_000_000_100_000,
    by="0.2.0",
)


def test_it_is_read_as_ever() -> None:
    """Every field, and the key's number."""
    assert checkpoint_entry("agents", KEY) == 12344
    body = (FOLDER / "agents.json").read_bytes()
    assert decode_cluster_checkpoint(body, key=KEY, archive=ARCHIVE, source="agents", entry=12344) == CHECKPOINT


def test_objects_are_read_as_ever() -> None:
    """A line about each object, and its bytes whatever they are."""
    text = (FOLDER / "objects").read_bytes()
    assert list(read_objects(text, PART)) == OBJECTS
    assert b"".join(object_lines(OBJECTS)) == text


def test_a_stream_goes_on_from_it() -> None:
    """All that the fold of a stream needs comes back."""
    for stream in CHECKPOINT.streams:
        state = state_of(stream, dict(OBJECTS[: stream.count]))
        assert len(state.objects) == stream.count
        assert (state.resource, state.namespace, state.cluster, state.server, state.epoch) == (
            stream.resource,
            stream.namespace,
            stream.cluster,
            stream.server,
            stream.epoch,
        )
        assert (state.listing, state.observed, state.heard, state.position) == (
            stream.listing,
            stream.observed,
            stream.heard,
            stream.position,
        )
        assert (state.ended, state.selected, state.unwatched) == (stream.ended, stream.selected, stream.unwatched)
        assert (state.loose, state.pending) == (False, None)
