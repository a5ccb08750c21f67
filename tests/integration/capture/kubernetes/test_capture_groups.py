"""A group whose discovery does not answer: what it serves is not known, and nobody is told that all is captured."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from archiver.capture.kubernetes.rights import check_rights
from archiver.capture.status import SourceStatus
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import TEXT, definition
from tests.servers.kubernetes_capture import KubernetesCapture, config_for
from tests.servers.kubernetes_restore import api

SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
SILENT = "silent.example.org"


def dead_api() -> dict[str, Any]:
    """Its service is not there."""
    spec = {"group": SILENT, "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 100, "insecureSkipTLSVerify": True}
    metadata = {"name": f"v1.{SILENT}"}
    service = {"name": "nobody", "namespace": "default"}
    return {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": metadata, "spec": {**spec, "service": service}}


async def test_a_selected_group_that_does_not_answer_is_named(start_cluster: Callable[..., ControlPlane]) -> None:
    """From the first look on, beside the streams of the others, which go on; in `check`, too. Once it is gone, so is the word."""
    plane = await asyncio.to_thread(start_cluster, definitions=[definition("living.example.org", "Thing", {"text": TEXT})])
    plane.request("POST", SERVICES, dead_api())
    capture = KubernetesCapture(config_for(plane, resources=["*.example.org"], discovery_seconds=0.2))

    def named(status: SourceStatus) -> bool:
        states = {part.name: (part.state, part.unknown_since, part.tolerated) for part in status.parts}
        living = states.get("kube/living.example.org/things", ("", None, False))[0]
        return living == "streaming" and states.get(f"kube/{SILENT}") == ("failed", 0, True)

    async with capture.running(streaming=False):
        await capture.until(named, "the group is named")
        async with api(plane) as server:
            assert (await check_rights(server, capture.config)).unanswered == [SILENT]
        plane.request("DELETE", f"{SERVICES}/v1.{SILENT}")
        await capture.until(lambda status: f"kube/{SILENT}" not in {part.name for part in status.parts}, "it is not served")
        await capture.until_streaming()
