"""Leader election as client-go does it (tools/leaderelection), for tests: acts while it leads, in a thread of its own."""

from __future__ import annotations

import threading
import time
import urllib.error
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from tests.servers.controlplane import ControlPlane


class Elector:
    """``with Elector(plane, "ns", "lease", "a") as one:`` competes for the Lease; ``one.leads`` says whether it acts."""

    def __init__(
        self, plane: ControlPlane, namespace: str, name: str, identity: str, *, lease: int = 3, deadline: float = 2.0, retry: float = 0.3
    ) -> None:
        self.leads = False
        self.acted: list[float] = []
        """Monotonic times at which it acted as the leader."""
        self._plane, self._identity = plane, identity
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._name = name
        self._lease, self._deadline, self._retry = lease, deadline, retry
        self._observed: dict[str, Any] = {}
        self._observed_at = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        renewed = 0.0
        while not self._stop.wait(self._retry):
            if self._try():
                self.leads, renewed = True, time.monotonic()
            elif self.leads and time.monotonic() - renewed > self._deadline:
                self.leads = False
            if self.leads:
                self.acted.append(time.monotonic())

    def _try(self) -> bool:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # noqa: TID251 -- as the controller's own clock says
        spec = {"holderIdentity": self._identity, "leaseDurationSeconds": self._lease, "acquireTime": now, "renewTime": now}
        try:
            try:
                there = self._plane.request("GET", f"{self._collection}/{self._name}")
            except urllib.error.HTTPError as error:
                if error.code != 404:
                    return False
                body = {"metadata": {"name": self._name}, "spec": spec}
                self._plane.request("POST", self._collection, body)
                return True
            if there["spec"] != self._observed:
                self._observed, self._observed_at = there["spec"], time.monotonic()
            holder = there["spec"].get("holderIdentity") or ""
            if holder and holder != self._identity and time.monotonic() < self._observed_at + self._lease:
                return False
            there["spec"] = {**there["spec"], **spec}
            self._observed, self._observed_at = (
                self._plane.request("PUT", f"{self._collection}/{self._name}", there)["spec"],
                time.monotonic(),
            )
        except (urllib.error.URLError, OSError):
            return False
        return True
