"""Which settings file is read when nobody names one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from archiver.cli.settings_places import find
from archiver.errors import Refused


def made(path: Path, text: str = "archive: {url: 'memory:'}\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_first_place_that_has_one_is_read(tmp_path: Path) -> None:
    """An option, the variable, the working folder, the user's folder: each hides those behind it."""
    environ = {"HOME": str(tmp_path / "home")}
    home = made(tmp_path / "home/.config/archiver/archiver.yaml")
    assert find(None, environ, tmp_path).path == home
    xdg = made(tmp_path / "xdg/archiver/archiver.yaml")
    environ["XDG_CONFIG_HOME"] = str(tmp_path / "xdg")
    assert find(None, environ, tmp_path).path == xdg
    here = made(tmp_path / "archiver.yaml")
    found = find(None, environ, tmp_path)
    assert (found.path, found.said) == (here, f"found at {here}")
    environ["ARCHIVER_CONFIG"] = "named.yaml"
    assert find(None, environ, tmp_path).path == Path("named.yaml")
    assert find(Path("other.yaml"), environ, tmp_path).path == Path("other.yaml")


def test_where_there_is_none_all_places_are_said(tmp_path: Path) -> None:
    """In the order in which they were looked at."""
    found = find(None, {"HOME": str(tmp_path), "XDG_CONFIG_HOME": "relative"}, tmp_path)
    assert found.path is None or found.path == Path("/etc/archiver/archiver.yaml")
    assert "./archiver.yaml" in find(None, {}, tmp_path).said


@pytest.mark.parametrize("way", ["file", "link", "writable"])
def test_a_file_of_another_user_is_not_obeyed(tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder that others may write to, their settings would name a program that is run. Named, it is read."""
    file = made(tmp_path / "archiver.yaml")
    if way == "writable":
        file.chmod(0o666)
    else:
        if way == "link":
            file.rename(tmp_path / "real.yaml")
            file.symlink_to("real.yaml")
        monkeypatch.setattr(os, "geteuid", lambda: file.lstat().st_uid + 1)
        owner = os.lstat(file).st_uid
        if owner == 0:
            os.chown(file, 12345, -1, follow_symlinks=False)
    with pytest.raises(Refused, match=r"every user|another user") as refused:
        find(None, {}, tmp_path)
    assert f"-c {file}" in refused.value.hint
    assert find(file, {}, tmp_path).path == file


def test_the_option_works_before_and_behind_the_command(tmp_path: Path) -> None:
    """Behind it wins; what is found unasked is said with an error, what was named is not."""
    one = made(tmp_path / "one.yaml", "archive: {url: 'file:///none/one'}\n")
    two = made(tmp_path / "two.yaml", "archive: {url: 'file:///none/two'}\n")
    made(tmp_path / "archiver.yaml", "archive: {url: 'file:///none/three'}\n")

    def status(*words: str) -> str:
        command = [sys.executable, "-m", "archiver", *words]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "NO_COLOR": "1"}
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment).stderr

    assert "file:///none/one" in status("-c", str(one), "status", "--offline")
    behind = status("status", "--offline", "-c", str(two))
    assert "file:///none/two" in behind
    assert "settings:" not in behind
    assert "file:///none/two" in status("-c", str(one), "status", "--offline", "-c", str(two))
    assert "file:///none/four" in status("status", "--archive", "file:///none/four")
    unasked = status("status", "--offline")
    assert "file:///none/three" in unasked
    assert "settings: found at archiver.yaml" in unasked
