"""Debian's promtool, without the daemon that its package brings: ``python -m tests.servers.promtool`` puts it into the cache folder.

Nothing is installed and no service started: the package is downloaded, and one program taken out of it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.servers import places

_SECONDS = 300
_NEEDED = ("apt-get", "dpkg-deb")


def found() -> str:
    """The program, of PATH or of the cache folder; empty when neither has it."""
    kept = places.cache() / "promtool"
    return shutil.which("promtool") or (str(kept) if kept.exists() else "")


def fetch() -> str:
    """Why there is no promtool; empty when there is."""
    if found():
        return ""
    if missing := [name for name in _NEEDED if shutil.which(name) is None]:
        return f"there is no {' and no '.join(missing)} here: put a promtool (of Prometheus 2.42 or newer) on PATH"
    target = places.cache() / "promtool"
    with places.locked(target.with_name("promtool.lock")), tempfile.TemporaryDirectory(prefix="promtool-", dir=places.cache()) as name:
        if target.exists():
            return ""
        folder = Path(name)
        if (said := _download(folder)) and (said := _download_anew(folder)):
            return f"apt-get download prometheus failed ({said}): put a promtool (of Prometheus 2.42 or newer) on PATH"
        (package,) = folder.glob("prometheus_*.deb")
        if said := _run(["dpkg-deb", "--extract", str(package), str(folder / "package")], folder):
            return f"{package.name} cannot be unpacked: {said}"
        (folder / "package/usr/bin/promtool").rename(target)
    return ""


def _download(folder: Path, *options: str) -> str:
    # Whoever is root would have another user write into a folder that is ours alone.
    return _run(["apt-get", "-qq", "-o", "APT::Sandbox::User=", *options, "download", "prometheus"], folder)


def _download_anew(folder: Path) -> str:
    """Where the machine's lists of packages are missing or old: with lists of our own."""
    options = ["-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache"]
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    said = _run(["apt-get", "-qq", "-o", "APT::Sandbox::User=", *options, "update"], folder)
    return said or _download(folder, *options)


def _run(command: list[str], folder: Path) -> str:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"{command[0]} took longer than {_SECONDS} s"
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no reason was given"])[-1]


if __name__ == "__main__":
    reason = fetch()
    print(f"the alerts are not tested: {reason}" if reason else "promtool is ready", file=sys.stderr)
