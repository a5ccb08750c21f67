"""A trial: a subject is captured while it changes, restored at the points where it stood still, compared with what was there then."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fidelity.differences import differences, is_said
from fidelity.fingerprint import Fingerprint
from fidelity.outcome import Outcome, Point
from tests.servers.archiver import Archiver

_PLAN_SECONDS = 900
_RESTORE_SECONDS = 3600


class Unusable(Exception):
    """What was restored cannot be used, and why."""


class Target(Protocol):
    """Something empty that a point is restored into."""

    @property
    def address(self) -> str:
        """What ``archiver restore --to`` takes."""

    def fingerprint(self) -> Fingerprint:
        """What is there now. Raises ``Unusable``."""


class Subject(Protocol):
    """What is captured, changed and compared: a database, a cluster."""

    def around(self) -> AbstractContextManager[object]:
        """What is held from before capture until the last point is restored; what capture leaves at the source is gone afterwards."""

    def sources(self) -> dict[str, Any]:
        """The source to capture, as the settings name it."""

    def prepare(self) -> None:
        """What is done before capture begins."""

    def captured(self, archiver: Archiver) -> None:
        """Wait until capture has begun."""

    def changes(self, archiver: Archiver, stops: int) -> Iterator[Point]:
        """Change it, and give a point at each of ``stops`` places; when the last was asked for, the journal holds all of it."""

    def fresh(self) -> AbstractContextManager[Target]:
        """An empty target."""

    def texts(self, plan: dict[str, Any], report: dict[str, Any]) -> Iterator[str]:
        """What plan and report say of what will not be as it was."""

    def gaps(self, plan: dict[str, Any]) -> list[str]:
        """What the plan calls not known."""

    def outcome(self, points: list[Point]) -> Outcome:
        """What the whole run came to."""


@dataclass
class Trial:
    """Runs one subject through capture and restores."""

    subject: Subject

    def run(self, stops: int) -> Outcome:
        """Take ``stops`` points while the subject changes; restore each, and compare."""
        subject = self.subject
        with (
            subject.around(),
            tempfile.TemporaryDirectory(prefix="archiver-fidelity-") as folder,
        ):
            subject.prepare()
            with Archiver(Path(folder), subject.sources(), serve=True) as archiver:
                archiver.start()
                subject.captured(archiver)
                points = list(subject.changes(archiver, stops))
                archiver.stop()
                for point in points:
                    self._restore(archiver, point)
        return subject.outcome(points)

    def _restore(self, archiver: Archiver, point: Point) -> None:
        began = time.monotonic()
        with self.subject.fresh() as target:
            where = ["--at", point.position, "--to", target.address, "--json", "--allow-gaps"]
            try:
                dry = archiver.call("restore", *where, "--dry-run", timeout=_PLAN_SECONDS)
                left_out = [] if target.address.startswith(("/", "kubeconfig:")) else ["--left-out", str(archiver.folder)]
                done = archiver.call("restore", *where, *left_out, timeout=_RESTORE_SECONDS)
            except subprocess.TimeoutExpired as error:
                point.failure = f"it did not end within {error.timeout:.0f} s"
                return
            finally:
                point.seconds = time.monotonic() - began
            if not all(each.stdout.strip().startswith("{") for each in (dry, done)):
                point.failure = (done.stderr or done.stdout).strip()[-600:] or f"exit code {done.returncode}"
                return
            plan = json.loads(dry.stdout)["sources"][0]["plan"]
            report = json.loads(done.stdout)["sources"][0]["report"]
            point.gaps = self.subject.gaps(plan)
            texts = list(self.subject.texts(plan, report))
            try:
                found = target.fingerprint()
            except Unusable as error:
                point.failure = str(error)
                return
            for difference in differences(point.fingerprint, found):
                (point.said if is_said(difference, texts) else point.unsaid).append(difference)
