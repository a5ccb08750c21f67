"""Commands of the archiver in forks of one process that has loaded everything: many of them in the time of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

_READY = (
    "archiver.cli.restore",
    "archiver.cli.history",
    "archiver.cli.states",
    "archiver.cli.status",
    "archiver.cli.verify",
    "archiver.store.open",
)


class WarmCommands:
    """Each call is a process of its own, as from a shell, but for the loading of modules."""

    def __init__(self, config: Path) -> None:
        self._config = config

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.servers.warm_commands"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The same as ``Archiver.call``."""
        assert self._process.stdin
        assert self._process.stdout
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder, "out"), Path(folder, "err")
            words = ["archiver", "-c", str(self._config), *arguments]
            self._process.stdin.write(json.dumps([words, str(out), str(err)]) + "\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
            return subprocess.CompletedProcess(words, code, out.read_text(), err.read_text())


def _serve() -> None:
    import importlib

    from archiver.__main__ import main

    for name in _READY:
        importlib.import_module(name)
    for line in sys.stdin:
        words, out, err = json.loads(line)
        child = os.fork()
        if not child:
            for number, path in ((1, out), (2, err)):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
            sys.argv = words
            try:
                main()
            finally:
                os._exit(70)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    _serve()
