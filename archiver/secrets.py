"""Secrets are named in settings, never held by them: ``env:NAME`` or ``file:PATH``."""

from __future__ import annotations

import os
from pathlib import Path

from archiver.errors import Invalid


class Secret:
    """One reference. ``setting`` is the key that holds it, for messages; the secret itself is in none."""

    def __init__(self, reference: str, setting: str) -> None:
        """Raises ``Invalid`` for text that is not a reference: it may be the secret itself, so it is not repeated."""
        self._kind, _, self._name = reference.partition(":")
        self._setting = setting
        self._last = ""
        if self._kind not in ("env", "file") or not self._name:
            raise Invalid(f"{setting}: not a secret reference", hint="write env:NAME or file:PATH, not the secret")

    def read(self) -> str:
        """The secret as it is now, without a line end behind it. Files are read at every call, so that a rotated one is taken over.

        A file that cannot be read for a moment, as when it is being replaced, gives what it held before. Raises ``Invalid`` when there is
        nothing: no such variable or file, or an empty one.
        """
        if self._kind == "env":
            found = os.environ.get(self._name, "").rstrip("\r\n")  # a Secret made from a file has the file's line end
            problem = f"environment variable {self._name} is not set or empty"
        else:
            found, problem = _read(Path(self._name))
        if not found and not self._last:
            raise Invalid(f"{self._setting}: {problem}", hint=f"provide what {self._kind}:{self._name} names")
        self._last = found or self._last
        return self._last


def _read(path: Path) -> tuple[str, str]:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n"), f"file {path} is empty"
    except OSError as error:
        return "", f"cannot read {path}: {error.strerror}"
    except UnicodeDecodeError:
        return "", f"file {path} is not UTF-8 text"
