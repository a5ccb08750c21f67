"""The part of ``archiver maintain`` that packs small segments."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

from archiver.cli import output
from archiver.cli.main import wait_for
from archiver.clock import SystemClock
from archiver.journal.reader import Reader
from archiver.maintenance.packed import Packed
from archiver.maintenance.packing import pack_segments
from archiver.settings import Settings
from archiver.store.open import open_store


def pack_archive(settings: Settings) -> list[Packed]:
    """Pack what has no pack, and tell each. Raises as ``pack_segments``; what was made before stays."""

    async def packed() -> list[Packed]:
        store = await open_store(settings.archive.url, settings.archive.s3)
        try:
            made = []
            async with aclosing(pack_segments(Reader(store, packs=False), SystemClock())) as steps:
                async for step in steps:
                    if step.segments:
                        output.say(f"packed segments {step.first} to {step.last}")
                    made.append(step)
            return made
        finally:
            await store.close()

    return wait_for(packed)


def print_packed(made: Sequence[Packed]) -> None:
    """What was done, in a line or two."""
    held = [each for each in made if each.segments]
    stored = output.size(sum(each.bytes for each in held))
    output.facts([("packs made", f"{len(held)}, of {sum(each.segments for each in held)} segments, {stored}")])
