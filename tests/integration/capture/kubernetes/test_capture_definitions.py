"""A definition changes while its objects do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, definition, definitions, path
from tests.servers.kubernetes_capture import KubernetesCapture, config_for, objects, served

TEXT = {"type": "string"}


async def test_what_an_old_watch_cut_off_is_captured_after_all(start_cluster: Callable[..., ControlPlane]) -> None:
    """For a moment after a schema gained a field, watches still leave it out of what they send; the journal ends with it all the same."""
    plane = await asyncio.to_thread(lambda: start_cluster(definitions=definitions()))
    capture = KubernetesCapture(config_for(plane, "default", resources=["tools.tools.proompteng.ai"]))

    def create(turn: int) -> str:
        """Objects that have the field before, while and after the definition gets it; resourceVersion of the last."""
        fields = {"image": TEXT, **{f"field{number}": TEXT for number in range(turn + 1)}}
        plane.apply(definition("tools.proompteng.ai", "Tool", fields))
        for number in range(60):
            wanted = custom_resource("Tool", "default", f"o{turn}-{number}", {f"field{turn}": "x"})
            made = plane.request("POST", path("Tool", "default"), wanted)
        version: str = made["metadata"]["resourceVersion"]
        return version

    async with capture.running():
        for turn in range(3):
            last = await asyncio.to_thread(create, turn)
            await capture.until_durable("tools.proompteng.ai/tools@default", last)
        listed, _ = await asyncio.to_thread(served, plane, path("Tool", "default"))
        for _ in range(50):
            state = await capture.folded("tools.proompteng.ai/tools@default")
            if objects(state) == listed:
                break
            await asyncio.sleep(0.2)
    assert objects(state) == listed
