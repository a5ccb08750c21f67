"""The product itself as a process, as a user runs it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

import psycopg
import yaml

from tests.servers.process import free_port


class Archiver:
    """``archiver run`` on a settings file in ``folder``; the journal is in ``folder/journal`` unless ``archive`` says otherwise.

    With ``serve`` its probes are served on ``port``. As a context manager it leaves nothing running.
    """

    def __init__(
        self,
        folder: Path,
        sources: dict[str, Any],
        *,
        name: str = "archiver",
        archive: dict[str, Any] | None = None,
        serve: bool = False,
        **more: Any,
    ) -> None:
        self.folder = folder
        self.config = folder / f"{name}.yaml"
        self.log_file = folder / f"{name}.log"
        settings = {"archive": {"url": f"file://{folder}/journal", "heartbeat_seconds": 1, **(archive or {})}, "sources": sources, **more}
        settings["log"] = {"format": "json"}
        self.port = free_port() if serve else 0
        if serve:
            settings["web"] = {"listen": f"127.0.0.1:{self.port}", **settings.get("web", {})}
        self.config.write_text(yaml.safe_dump(settings))
        self.process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "process"):
            self.kill()

    def start(self) -> None:
        """Start ``archiver run``; its log is appended to ``log_file``."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "archiver", "-c", str(self.config), "run"], stdout=log, stderr=log)

    def stop(self, timeout: float = 40) -> int:
        """SIGTERM and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def call(self, *arguments: str, timeout: float = 120, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """One other command on the same settings."""
        command = [sys.executable, "-m", "archiver", "-c", str(self.config), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, env={**os.environ, **(env or {})})

    def status(self) -> dict[str, Any]:
        """``archiver status --offline --json``; empty while there is no journal."""
        done = self.call("status", "--offline", "--json")
        found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
        return found

    def source(self, name: str) -> dict[str, Any]:
        """The line of one source in ``status``; empty while the journal does not know it."""
        lines = self.status().get("sources", [])
        return next((line for line in lines if line["name"] == name), {})

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of one of its pages; (0, b"") while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except (OSError, http.client.HTTPException):
            return 0, b""

    def live(self) -> dict[str, Any]:
        """``/status``; empty while nobody listens."""
        found: dict[str, Any] = json.loads(self.get("/status")[1] or b"{}")
        return found

    def live_source(self, name: str) -> dict[str, Any]:
        """The line of one source in ``/status``; empty while there is none."""
        return next((line for line in self.live().get("sources", []) if line["name"] == name), {})

    def log(self) -> str:
        """What it logged."""
        return self.log_file.read_text()

    def wait_for_baseline(self, name: str, timeout: float = 60) -> None:
        """Return once ``name`` has a complete baseline."""
        self.wait(lambda: bool(self.source(name).get("checkpoint")), f"{name} has no baseline", timeout)

    def wait(self, condition: Any, what: str, timeout: float = 60) -> None:
        """Poll ``condition``; fail with the log's end when the process dies or time is up."""
        deadline = time.monotonic() + timeout
        while not condition():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{what}; exit code {self.process.poll()}; log ends:\n{self.log()[-3000:]}")
            time.sleep(0.2)


def wait_until_durable(archiver: Archiver, name: str, dsn: str, timeout: float = 60) -> None:
    """Return once everything committed at the database so far is in the journal."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute("SELECT pg_current_wal_lsn() - '0/0'").fetchone()
    assert row is not None
    target = int(row[0])

    def reached() -> bool:
        line = archiver.live_source(name) if archiver.port else archiver.source(name)
        return lsn(line.get("durable_position") or "0/0") >= target

    archiver.wait(reached, f"{name} did not reach {target:x}", timeout)


def wait_until_observed(archiver: Archiver, source: str, time: int, timeout: float = 60) -> None:
    """Return once every stream of a cluster has an entry in the journal that is later than ``time``, in microseconds: whoever is killed
    before that leaves a time in which nobody watched around the point, and a restore says so.
    """

    def reached() -> bool:
        lines = [line for line in archiver.live().get("sources", []) if line["name"].startswith(f"{source}/") and line["state"] != "ended"]
        return bool(lines) and all((line["observed"] or 0) > time for line in lines)

    archiver.wait(reached, f"{source} is not known up to {time}", timeout)


def lsn(text: str) -> int:
    """``X/Y`` as a number."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)
