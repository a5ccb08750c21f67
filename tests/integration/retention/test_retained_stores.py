"""Retention in a folder and on S3: what is kept in memory for other tests is deleted there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from archiver.errors import ArchiverError
from archiver.journal import clock_doubts
from archiver.journal.boundary import newest_boundary
from archiver.journal.keys import IDENTITY, SEGMENTS, segment_key
from archiver.journal.reader import Reader
from archiver.journal.verifier import verify
from archiver.maintenance.cluster_folding import fold_cluster
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.retention.limits import RetentionLimits
from archiver.retention.retention import retain
from archiver.store.open import open_store
from archiver.store.options import S3Options
from archiver.store.protocol import Store
from tests.fixtures.fix_s3 import S3Place
from tests.unit.retention.test_random_clusters import Hand, TimedPast, seen


@pytest.mark.parametrize("kind", ["folder", "s3"])
async def test_what_no_promise_needs_is_deleted(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan, a boundary, fewer objects; the last point is as before, an early one is refused, and verify finds all that is left whole."""
    monkeypatch.setattr(clock_doubts, "NEAR", 5)
    if kind == "s3":
        place: S3Place = request.getfixturevalue("s3_place")
        store = await open_store(place.url, place.options())
    else:
        store = await open_store((tmp_path / "archive").as_uri(), S3Options())
    try:
        await story(store)
    finally:
        await store.close()


async def story(store: Store) -> None:
    """A made-up cluster's archive in ``store``."""
    past, clock = TimedPast(244).make(90), Hand()
    # The last ones come while it is retained.
    source, count = past.forgery.store, past.forgery.number - 3
    for key in (IDENTITY, *map(segment_key, range(count))):
        assert await store.put_if_absent(key, source.peek(key) or b"")
    tail = await Reader(store).tail()
    assert tail is not None
    clock.time = tail.time + 1
    assert (await fold_cluster(Reader(store), clock, "kube", until=tail.number - 20)).key
    limits = RetentionLimits(restore_seconds=20 / 1e6, grace_seconds=1e-6, most_share=1.0)
    states = []
    for _ in range(3):
        states.append((await retain(store, clock, limits, offload=asyncio.to_thread, least_segments=1)).state)
        # Both clocks, this one and the journal's, must have gone on.
        assert await store.put_if_absent(segment_key(count + len(states) - 1), source.peek(segment_key(count + len(states) - 1)) or b"")
        clock.time += 10
    assert states[:2] == ["planned", "retired"]
    boundary = await newest_boundary(store)
    assert boundary is not None
    left = await store.list(SEGMENTS, limit=1000)
    assert len(left) < count - 5
    assert segment_key(count - 1) in left
    newest = Cut()
    assert await seen(store, newest) == await seen(source, newest)
    assert isinstance(await seen(store, Cut(seq=2)), ArchiverError)
    report = await verify(store, deep=True)
    assert (report.ok, report.bad_checkpoints, report.strays) == (True, [], []), report.verdict
