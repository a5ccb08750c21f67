"""A real Kubernetes API server with its etcd on loopback: ``with ControlPlane.start() as plane: plane.kubectl("get", "crds")``.

Authentication by bearer token over TLS, authorisation by RBAC; ``plane.admin_token`` is in system:masters, and
``plane.service_account_token`` mints tokens with exactly the rights that RBAC gives. No pods run. The binary is built once
(tests/controlplane/README.md).
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.servers import places, process
from tests.servers.controlplane_build import program

# The API server waits long for open watches; a second SIGTERM tells it to end at once.
_QUIET = ((signal.SIGTERM, 3.0), (signal.SIGTERM, 5.0))
_AT_ONCE = ((signal.SIGTERM, 3.0),)


class Etcd:
    """One etcd; several API servers may share it under different prefixes. Its data may be copied away and back while stopped."""

    def __init__(self, flags: Sequence[str] = ()) -> None:
        self.folder = places.scratch("archetcd")
        self.port = process.free_port()
        self._peer = process.free_port()
        self._flags = list(flags)
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return f"http://127.0.0.1:{self.port}"

    def boot(self) -> None:
        """Start on the data that are there; healthy on return."""
        peer = f"http://127.0.0.1:{self._peer}"
        argv = [
            *program("etcd"),
            f"--data-dir={self.data}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
            *self._flags,
        ]
        self._process = process.spawn(argv, log=self.folder / "log", cwd=self.folder)
        _wait_for_health(self._process, f"{self.url}/health", None, self.folder / "log")

    def stop(self) -> None:
        """End it in order; the data stay."""
        if self._process:
            process.end(self._process, *_QUIET)

    def kill(self) -> None:
        """SIGKILL; the data stay as they are at that moment."""
        if self._process:
            process.kill_tree(self._process)

    def close(self) -> None:
        """End it at once and remove its files. May be called twice."""
        atexit.unregister(self.close)
        if self._process:
            process.end(self._process, *_AT_ONCE)
        shutil.rmtree(self.folder, ignore_errors=True)


class ControlPlane:
    """An API server, its etcd (its own unless one is given) and, if asked for, the garbage collector and namespace controllers."""

    def __init__(self, *, etcd: Etcd | None, prefix: str, flags: Sequence[str], etcd_flags: Sequence[str], controllers: bool) -> None:
        self.folder = places.scratch("archkube")
        atexit.register(self.close)
        self.etcd = etcd or Etcd(etcd_flags)
        self._shares_etcd = etcd is not None
        self._prefix = prefix
        self._flags = list(flags)
        self._controllers = controllers
        self.port = process.free_port()
        self.admin_token = secrets.token_hex(16)
        self.ca = self.folder / "certificates/apiserver.crt"
        self.kubeconfig = self.folder / "kubeconfig"
        self._apiserver: subprocess.Popen[bytes] | None = None
        self._manager: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(
        cls,
        *,
        etcd: Etcd | None = None,
        prefix: str = "/registry",
        flags: Sequence[str] = (),
        etcd_flags: Sequence[str] = (),
        controllers: bool = False,
        definitions: Sequence[Mapping[str, Any]] = (),
    ) -> Self:
        """A new, running, empty control plane; it ends with this program at the latest.

        ``flags`` go to the API server, for example ``--etcd-compaction-interval=2s``; a flag given twice counts as given last.
        With ``controllers``, objects whose owners are gone and the contents of deleted namespaces are removed, and a
        deleted namespace goes away only then. They look for new kinds every 30 s only, so ``definitions`` are applied before
        they start.
        """
        plane = cls(etcd=etcd, prefix=prefix, flags=flags, etcd_flags=etcd_flags, controllers=controllers)
        try:
            plane._prepare()
            if etcd is None:
                plane.etcd.boot()
            plane.start_apiserver()
            if definitions:
                plane.apply(*definitions)
            plane._start_manager()
        except BaseException:
            plane.close()
            raise
        return plane

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where clients reach the API server; its certificate is for 127.0.0.1 and is its own authority (``ca``)."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What the API server printed."""
        return self.folder / "apiserver.log"

    def kubectl(self, *words: str | Path, input: str | None = None, check: bool = True) -> str:  # noqa: A002 -- as in subprocess
        """Run kubectl as administrator and return what it printed; CalledProcessError carries its standard error as a note."""
        return self._call("kubectl", words, input, check=check)

    def helm(self, *words: str | Path, input: str | None = None, check: bool = True) -> str:  # noqa: A002 -- as in subprocess
        """Run helm as administrator, its caches in this control plane's own folder."""
        return self._call("helm", words, input, check=check)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Server-side apply of the objects in one go; definitions among them are waited for until their kinds are served."""
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=yaml.safe_dump_all(objects))
        definitions = [f"crd/{each['metadata']['name']}" for each in objects if each["kind"] == "CustomResourceDefinition"]
        if definitions:
            self.kubectl("wait", "--for=condition=Established", "--timeout=30s", *definitions)

    def request(
        self, method: str, path: str, body: object = None, *, token: str | None = None, content_type: str = "application/json"
    ) -> Any:
        """One API call, by default as administrator; the decoded answer. urllib.error.HTTPError for 4xx and 5xx.

        A 429 is tried again for 20 s, as every client does: the server answers so for a moment after a definition changed.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token or self.admin_token}", "Content-Type": content_type, "Accept": "application/json"}
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=headers)
        deadline = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(request, timeout=30, context=self._tls) as response:
                    return json.loads(response.read())
            except urllib.error.HTTPError as error:
                if error.code != 429 or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def service_account_token(self, namespace: str, name: str, *, seconds: int = 3600) -> str:
        """A token of an existing ServiceAccount, with whatever rights RBAC gives to that."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        answer = self.request("POST", path, {"spec": {"expirationSeconds": seconds}})
        token: str = answer["status"]["token"]
        return token

    def kubeconfig_for(self, token: str, *, namespace: str = "default", server: str | None = None, ca: Path | None = None) -> Path:
        """A kubeconfig for ``token``; ``server`` and ``ca`` may name a proxy in front of this API server."""
        path = self.folder / f"kubeconfig-{secrets.token_hex(4)}"
        self._write_kubeconfig(path, token, namespace, server or self.url, ca or self.ca)
        return path

    def start_apiserver(self) -> None:
        """Start the API server, on the port it had; ready on return."""
        certificates = self.folder / "certificates"
        argv = [
            *program("kube-apiserver"),
            f"--etcd-servers={self.etcd.url}",
            f"--etcd-prefix={self._prefix}",
            f"--secure-port={self.port}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={certificates}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://local",
            f"--service-account-key-file={self.folder / 'sa.key'}",
            f"--service-account-signing-key-file={self.folder / 'sa.key'}",
            "--disable-admission-plugins=ServiceAccount",
            *self._flags,
        ]
        self._apiserver = process.spawn(argv, log=self.log, cwd=self.folder)
        process.wait_until(lambda: self.ca.exists() or not self._apiserver_runs, seconds=60, what="the API server's certificate")
        if self._apiserver_runs:
            self.__dict__.pop("_tls", None)
            self._write_kubeconfig(self.kubeconfig, self.admin_token, "default", self.url, self.ca)
        _wait_for_health(self._apiserver, f"{self.url}/readyz", self, self.log)

    def stop_apiserver(self) -> None:
        """End the API server in order; watches are closed by it. etcd goes on."""
        if self._apiserver:
            process.end(self._apiserver, *_QUIET)

    def kill_apiserver(self) -> None:
        """SIGKILL for the API server alone."""
        if self._apiserver:
            process.kill_tree(self._apiserver)

    def restart_apiserver(self, *, kill: bool = False) -> None:
        """End (or SIGKILL) the API server and start it again on the same etcd, port and certificate."""
        if kill:
            self.kill_apiserver()
        else:
            self.stop_apiserver()
        self.start_apiserver()

    def keep(self) -> None:
        """Put a copy of etcd's data aside, for ``rewind``; everything is started again."""
        self.stop()
        shutil.copytree(self.etcd.data, self.folder / "copy")
        self.boot()

    def rewind(self) -> None:
        """Start again from what ``keep`` put aside: the cluster goes back in time."""
        self.stop()
        shutil.rmtree(self.etcd.data)
        shutil.copytree(self.folder / "copy", self.etcd.data)
        self.boot()

    def stop(self) -> None:
        """End everything in order, API server first; ``boot`` goes on with the same data."""
        for running in (self._manager, self._apiserver):
            if running:
                process.end(running, *_QUIET)
        if not self._shares_etcd:
            self.etcd.stop()

    def kill(self) -> None:
        """SIGKILL for everything; ``boot`` goes on with the data as they are."""
        for running in (self._manager, self._apiserver):
            if running:
                process.kill_tree(running)
        if not self._shares_etcd:
            self.etcd.kill()

    def boot(self) -> None:
        """Start everything again after ``stop`` or ``kill``."""
        if not self._shares_etcd:
            self.etcd.boot()
        self.start_apiserver()
        self._start_manager()

    def close(self) -> None:
        """End everything at once and remove every file. May be called twice."""
        atexit.unregister(self.close)
        for running in (self._manager, self._apiserver):
            if running:
                process.end(running, *_AT_ONCE)
        if not self._shares_etcd:
            self.etcd.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _apiserver_runs(self) -> bool:
        return self._apiserver is not None and self._apiserver.poll() is None

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca)

    def _prepare(self) -> None:
        (self.folder / "tokens.csv").write_text(f'{self.admin_token},admin,admin,"system:masters"\n')
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
        (self.folder / "sa.key").write_bytes(pem)
        # kubectl kustomize --enable-helm looks for a program named helm.
        wrapper = self.folder / "bin/helm"
        wrapper.parent.mkdir()
        wrapper.write_text("#!/bin/sh\nexec " + " ".join(f"'{word}'" for word in program("helm")) + ' "$@"\n')
        wrapper.chmod(0o755)

    def _start_manager(self) -> None:
        if self._controllers:
            argv = [
                *program("kube-controller-manager"),
                f"--kubeconfig={self.kubeconfig}",
                "--controllers=garbage-collector-controller,namespace-controller",
                "--leader-elect=false",
                "--secure-port=0",
            ]
            self._manager = process.spawn(argv, log=self.folder / "manager.log", cwd=self.folder)

    def _write_kubeconfig(self, path: Path, token: str, namespace: str, server: str, ca: Path) -> None:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "rig",
            "clusters": [{"name": "rig", "cluster": {"server": server, "certificate-authority": str(ca)}}],
            "users": [{"name": "rig", "user": {"token": token}}],
            "contexts": [{"name": "rig", "context": {"cluster": "rig", "user": "rig", "namespace": namespace}}],
        }
        path.write_text(yaml.safe_dump(config))
        path.chmod(0o600)

    def _call(self, part: str, words: Sequence[str | Path], given: str | None, *, check: bool) -> str:
        home = {name: str(self.folder / "helm" / name) for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")}
        environment = {
            **os.environ,
            **home,
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{self.folder / 'bin'}:{os.environ.get('PATH', '')}",
        }
        command = [*program(part), *map(str, words)]
        done = subprocess.run(command, input=given, env=environment, capture_output=True, text=True, timeout=120, check=False)
        if check and done.returncode != 0:
            failure = subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
            failure.add_note(done.stderr[-4000:])
            raise failure
        return done.stdout


def _wait_for_health(running: subprocess.Popen[bytes], url: str, plane: ControlPlane | None, log: Path) -> None:
    deadline = time.monotonic() + 90
    while running.poll() is None and time.monotonic() < deadline:
        try:
            if plane:
                request = urllib.request.Request(url, headers={"Authorization": f"Bearer {plane.admin_token}"})
                urllib.request.urlopen(request, timeout=5, context=plane._tls).close()
            else:
                urllib.request.urlopen(url, timeout=5).close()
        except (OSError, urllib.error.URLError):
            time.sleep(0.05)
            continue
        return
    tail = log.read_text(errors="replace")[-4000:]
    raise RuntimeError(f"{url} {'is not healthy in time' if running.poll() is None else 'ended while starting'}:\n{tail}")
