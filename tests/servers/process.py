"""Server processes that never outlive the program that started them.

Every server of the rig is started by ``spawn``, through the small launcher below: it becomes the wanted user, asks the
kernel to be told when its parent dies, and turns into the server. So a test run that is killed leaves nothing running.
A launcher is used instead of ``preexec_fn`` because that is not safe in a program with threads.
"""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

_LAUNCHER = """
import ctypes, os, sys
user, group, death, parent = (int(word) for word in sys.argv[1:5])
if user >= 0:
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)
if death and sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, death, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the parent is gone")
os.execv(sys.argv[5], sys.argv[5:])
"""


def spawn(
    argv: Sequence[str | Path],
    *,
    log: Path,
    user: pwd.struct_passwd | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | Path = "/",
    death_signal: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start ``argv`` (first an absolute path) in a process group of its own, its output appended to ``log``.

    The kernel delivers the death signal when the starting *thread* ends, so it is asked for in the main thread only.
    """
    death = int(death_signal) if threading.current_thread() is threading.main_thread() else 0
    identity = [str(user.pw_uid), str(user.pw_gid)] if user else ["-1", "-1"]
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, *identity, str(death), str(os.getpid()), *map(str, argv)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            process_group=0,
        )


def free_port() -> int:
    """A TCP port of the loopback address that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(true: Callable[[], bool], *, seconds: float, what: str, interval: float = 0.02) -> None:
    """Return once ``true()`` holds; TimeoutError naming ``what`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(interval)


def children(pid: int) -> list[int]:
    """Process ids of the direct children of ``pid`` at this moment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            # The name in parentheses may hold spaces; the fields after it do not.
            if int(stat.rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry.name))
    return found


def alive(pid: int) -> bool:
    """Whether ``pid`` still runs; a zombie that nobody has reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL a server and its direct children, and return when none of them runs any more."""
    if process.poll() is not None:
        return
    # Stopped first, so that it cannot start another child between the listing and the killing.
    process.send_signal(signal.SIGSTOP)
    doomed = children(process.pid)
    process.kill()
    _signal_all(doomed, signal.SIGKILL)
    process.wait()
    wait_until(lambda: not any(alive(pid) for pid in doomed), seconds=20, what=f"children of {process.pid} to end")


def end(process: subprocess.Popen[bytes], *signals_in_turn: tuple[signal.Signals, float]) -> None:
    """Send each signal and wait its seconds for the process to end; SIGKILL for it and its children at last."""
    for number, seconds in signals_in_turn:
        if process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
        return
    kill_tree(process)


def _signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
