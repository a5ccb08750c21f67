"""What the two kinds of maintenance share: an archive, and steps that are told as they are done."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Protocol, TypeVar

from archiver.cli import output
from archiver.errors import Invalid
from archiver.journal.reader import Reader
from archiver.settings import Settings
from archiver.store.open import open_store


class _OfASource(Protocol):
    @property
    def source(self) -> str: ...


_Step = TypeVar("_Step", bound=_OfASource)


async def carried_out(
    settings: Settings, sources: Sequence[str], work: Callable[[Reader], AsyncGenerator[_Step]], said: Callable[[_Step], str]
) -> list[_Step]:
    """Every step of ``work`` over the archive, in order. ``said``: what people are told of one when it is done; empty: nothing.

    ``Invalid`` when one of ``sources`` had no step; else raises what ``work`` does. What was done before stays.
    """
    store = await open_store(settings.archive.url, settings.archive.s3)
    try:
        done: list[_Step] = []
        async with aclosing(work(Reader(store))) as steps:
            async for step in steps:
                if text := said(step):
                    output.say(f"{step.source}: {text}")
                done.append(step)
        if missing := set(sources) - {each.source for each in done}:
            raise Invalid(f"the archive has no source {min(missing)!r}", hint="`archiver status` lists its sources")
        return done
    finally:
        await store.close()
