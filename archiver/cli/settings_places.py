"""Where the settings file is looked for when nobody names it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from archiver.errors import Refused

HERE = "archiver.yaml"
"""Its name, in the working folder and in the others."""

PLACES = ("$ARCHIVER_CONFIG", f"./{HERE}", f"$XDG_CONFIG_HOME/archiver/{HERE} (~/.config)", f"/etc/archiver/{HERE}")
"""For help and errors, in the order in which they are looked at. The first one that is there is the only one that is read."""


class SettingsFile(msgspec.Struct, frozen=True):
    """The file that is in force, and who named it."""

    path: Path | None
    """``None``: there is none; defaults and the environment alone count."""
    named: Literal["option", "variable", ""] = ""
    """Empty: nobody did."""

    @property
    def said(self) -> str:
        """For people: which file it is, unless they said so themselves."""
        if self.named:
            return ""
        return f"found at {self.path}" if self.path else f"no file at {', '.join(PLACES)}; defaults and the environment alone"


def find(named: Path | None, environ: Mapping[str, str], folder: Path) -> SettingsFile:
    """The settings file: ``named``, else what ``ARCHIVER_CONFIG`` names, else the first default place that has one.

    ``folder``: the working folder. What it holds may be another user's, and settings name programs and databases: a file there that
    someone else owns or may write is ``Refused``, unless it is named.
    """
    if named is not None:
        return SettingsFile(named, "option")
    if environ.get("ARCHIVER_CONFIG"):
        return SettingsFile(Path(environ["ARCHIVER_CONFIG"]), "variable")
    here = folder / HERE
    if os.path.lexists(here):
        _trust(here)
    for path in (here, *_homes(environ), Path("/etc/archiver") / HERE):
        if os.path.isfile(path):  # noqa: PTH113 -- Path.is_file raises where a folder on the way may not be read
            return SettingsFile(path)
    return SettingsFile(None)


def _homes(environ: Mapping[str, str]) -> list[Path]:
    home = Path(environ.get("XDG_CONFIG_HOME", ""))
    if not home.is_absolute():
        home = Path(environ.get("HOME", ""), ".config")
    return [home / "archiver" / HERE] if home.is_absolute() else []


def _trust(path: Path) -> None:
    mine = {0, os.geteuid()}
    try:
        link, file = path.lstat(), path.stat()
    except OSError:
        return  # it is not there, or reading it says why not
    if not {link.st_uid, file.st_uid} <= mine:
        why = "belongs to another user"
    elif file.st_mode & 0o002:
        why = "may be written by every user"
    else:
        return
    raise Refused(
        f"the settings file {path} of the working folder {why}, and settings name programs that are run",
        hint=f"look at it; then name it: -c {path}",
    )
