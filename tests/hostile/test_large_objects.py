"""As many objects of the largest size as somebody likes, beside small ones: no answer of a list is held that is large without need."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from archiver.clock import SystemClock
from archiver.journal.entry import Kind
from archiver.journal.reader import Reader
from archiver.kubernetes.answer import Answer
from archiver.kubernetes.api import Api
from archiver.kubernetes.page_size import MOST_BYTES
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.replay.kubernetes.restore import plan_cluster
from archiver.replay.kubernetes.selection import RestoreScope
from tests.servers.controlplane import ControlPlane
from tests.servers.kubernetes_capture import KubernetesCapture, config_for
from tests.servers.kubernetes_restore import api

STREAM, LARGE = "core/configmaps", 36
SPACE = "/api/v1/namespaces/default/configmaps"


def create(plane: ControlPlane, name: str, size: int) -> str:
    """Its resourceVersion."""
    data = {"value": random.Random(name).randbytes(size // 2).hex()}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
    version: str = plane.request("POST", SPACE, body)["metadata"]["resourceVersion"]
    return version


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of every answer that was read whole."""
    found: list[int] = []
    whole = Api._whole

    async def noting(*args: Any) -> Answer:
        answer = await whole(*args)
        found.append(len(answer.body))
        return answer

    monkeypatch.setattr(Api, "_whole", noting)
    return found


async def test_lists_of_large_objects_come_in_small_pages(start_cluster: Callable[..., ControlPlane], answers: list[int]) -> None:
    """Small ones come first by name, so that pages have grown when the large ones come; all are captured, and a restore lists them too."""
    plane, clock = await asyncio.to_thread(start_cluster), SystemClock()
    names = [*(f"a-small-{number:03}" for number in range(120)), *(f"large-{number:03}" for number in range(LARGE))]

    def fill() -> str:
        return [create(plane, name, 1_000_000 if name.startswith("large") else 100) for name in names][-1]

    await asyncio.to_thread(fill)
    capture = KubernetesCapture(config_for(plane, resources=["configmaps"]))
    async with capture.running():
        await capture.until_durable(STREAM, await asyncio.to_thread(create, plane, "later", 1_000_000))
    assert not await capture.records(STREAM, Kind.GAP)
    state = await capture.folded(STREAM)
    assert {name for _, name in state.objects} >= {*names, "later"}
    assert sum(answers) > LARGE * 1_000_000
    assert max(answers) <= MOST_BYTES
    answers.clear()
    async with api(plane) as server:
        plan = await plan_cluster(Reader(capture.store), capture.name, Cut(), RestoreScope(), server, clock)
    assert sum(answers) > LARGE * 1_000_000
    assert max(answers) <= MOST_BYTES
    assert plan is not None
