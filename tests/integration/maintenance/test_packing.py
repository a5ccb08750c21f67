"""Packs made by the command line and in the background of ``run``: the same objects, and told of."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from archiver.clock import SystemClock
from archiver.journal.keys import pack_key
from archiver.maintenance.packed import SPAN
from archiver.service.maintainer import Maintainer
from archiver.settings import Settings, load
from archiver.store.memory import MemoryStore
from tests.servers.archiver import Archiver
from tests.unit.journal.forge import Forgery, frames

PACKED = pack_key(0, SPAN - 1)


def journal() -> MemoryStore:
    forgery = Forgery()
    forgery.open()
    while forgery.number < 2 * SPAN + 40:
        forgery.add(frames("db", b"something", position=str(forgery.number)))
    return forgery.store


def put_down(store: MemoryStore, folder: Path) -> None:
    for key in store.names(""):
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(store.peek(key) or b"")


def settings(folder: Path, **maintenance: Any) -> Settings:
    file = folder / "settings.yaml"
    file.write_text(yaml.safe_dump({"archive": {"url": f"file://{folder}/journal"}, "maintenance": maintenance}))
    return load(file, {})


def test_packs_are_made_and_told(tmp_path: Path) -> None:
    """Off unless it is asked for. One pack of what is not new; nothing is left to do after it; ``verify`` counts it, and names a bad one."""
    store = journal()
    put_down(store, tmp_path / "journal")
    assert not Settings().maintenance.compaction
    with Archiver(tmp_path, {}, maintenance={"compaction": True}) as archiver:
        made = [json.loads(archiver.call("maintain", "--json").stdout)[-1]["packs"] for _ in range(2)]
        assert [[(each["key"], each["segments"]) for each in packs] for packs in made] == [[(PACKED, SPAN)], []]
        assert json.loads(archiver.call("verify", "--json").stdout)["packs"] == 1
        file = tmp_path / "journal" / PACKED
        whole = file.read_bytes()
        file.chmod(0o600)
        file.write_bytes(whole[:-1])
        done = archiver.call("verify", "--json")
        assert (done.returncode, [each["key"] for each in json.loads(done.stdout)["bad_packs"]]) == (7, [PACKED])
        assert PACKED in done.stderr
    # And in the background of ``run``, in a process of its own: the same bytes.
    file.unlink()
    asyncio.run(in_background(settings(tmp_path, enabled=False, compaction=True, interval_seconds=0.1), file))
    assert file.read_bytes() == whole


async def in_background(values: Settings, file: Path) -> None:
    maintainer = Maintainer(values, SystemClock())
    work = asyncio.create_task(maintainer.run())
    try:
        async with asyncio.timeout(240):
            while not maintainer.packing.packs:
                assert not maintainer.packing.problem, maintainer.packing.problem
                await asyncio.sleep(0.05)
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
    assert file.exists()
