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
from archiver.suggestions import meant


class _OfASource(Protocol):
    @property
    def source(self) -> str: ...


_Step = TypeVar("_Step", bound=_OfASource)


async def carried_out(
    settings: Settings, sources: Sequence[str], work: Callable[[Reader], AsyncGenerator[_Step]], said: Callable[[_Step], str]
) -> list[_Step]:
    """Every step of ``work`` over the archive, in order. ``said``: what people are told of one when it is done; empty: nothing.

    ``Invalid`` when the archive has not each of ``sources``; else raises what ``work`` does. What was done before stays.
    """
    store = await open_store(settings.archive.url, settings.archive.s3)
    try:
        done: list[_Step] = []
        reader = Reader(store)
        tail = await reader.tail()
        known = sorted({name.partition("/")[0] for name in tail.sources if name}) if tail else []
        if missing := sorted(set(sources) - set(known)):
            hint = f"{meant(missing[0], known)}its sources: {', '.join(known) or 'none'}"
            raise Invalid(f"the archive has no source {missing[0]!r}", hint=hint)
        async with aclosing(work(reader)) as steps:
            async for step in steps:
                if text := said(step):
                    output.say(f"{step.source}: {text}")
                done.append(step)
        return done
    finally:
        await store.close()
