"""Trying it before it is done: what restores and capture would make of the archive, with and without what would go.

The rules that say what is needed may be incomplete. So the very code that plans and begins is asked twice, of the archive as it is and of
the archive as it would be, and nothing goes unless both say the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from archiver.capture.kubernetes.journal_view import resume_streams
from archiver.capture.postgres.start.journal_view import read_journal, schema_knowledge
from archiver.errors import ArchiverError, Refused, Unavailable
from archiver.journal.keys import BOUNDARIES, CHECKPOINTS, boundary_key, number_of
from archiver.journal.reader import Reader
from archiver.postgres.captured_systems import named_databases
from archiver.replay.kubernetes.fold import read_streams
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.replay.points import Point
from archiver.replay.postgres.plan.planner import plan_restore
from archiver.store.listing import all_keys

if TYPE_CHECKING:
    from archiver.journal.boundary import Boundary
    from archiver.journal.parts import Offload
    from archiver.journal.segment import SegmentHeader
    from archiver.retention.needs import OldestPoint
    from archiver.store.protocol import Store


class Stage:
    """A store as it would be: the journal ends with a certain segment, there are certain checkpoints, and what goes is gone. It is never
    written to.
    """

    def __init__(
        self, store: Store, last: int, checkpoints: frozenset[str], boundary: Boundary | None = None, gone: frozenset[str] = frozenset()
    ) -> None:
        self._store, self._last, self._checkpoints, self._gone = store, last, checkpoints, gone
        self._boundary = (boundary_key(boundary.number), msgspec.json.encode(boundary)) if boundary is not None else ("", b"")
        self._extent = boundary.extent if boundary is not None else None

    @property
    def url(self) -> str:
        """As of the store."""
        return self._store.url

    def _is_hidden(self, key: str) -> bool:
        number = number_of(key)
        if number is not None:
            return number > self._last or (self._extent is not None and number not in self._extent)
        return key in self._gone or (key.startswith(CHECKPOINTS) and key not in self._checkpoints)

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Refused."""
        raise Refused(f"{key} is not written in a rehearsal: {len(data)} bytes")

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        """As the store has it, without what goes."""
        if key == self._boundary[0]:
            return self._boundary[1][start:] if length is None else self._boundary[1][start : start + length]
        return None if self._is_hidden(key) else await self._store.get(key, start, length)

    async def size(self, key: str) -> int | None:
        """Likewise."""
        return None if self._is_hidden(key) else await self._store.size(key)

    async def list(self, prefix: str, after: str = "", limit: int | None = None) -> list[str]:
        """Likewise."""
        if prefix == BOUNDARIES and self._boundary[0] and not after:
            return [self._boundary[0]]
        found: list[str] = []
        while limit is None or len(found) < limit:
            keys = await self._store.list(prefix, after, limit)
            found += [key for key in keys if not self._is_hidden(key)]
            if limit is None or not keys:
                break
            after = keys[-1]
        return found if limit is None else found[:limit]

    async def delete(self, key: str) -> None:
        """Refused."""
        raise Refused(f"{key} is not deleted in a rehearsal")

    async def close(self) -> None:
        """Nothing is held."""


async def rehearse(
    store: Store, tail: SegmentHeader, boundary: Boundary, gone: frozenset[str], points: dict[str, list[OldestPoint]], *, offload: Offload
) -> None:
    """``Refused`` when anything would be otherwise. ``points``: by source, what is promised."""
    # Others fold meanwhile: both answers begin from the same.
    checkpoints = frozenset(await all_keys(store, CHECKPOINTS))
    now = Reader(Stage(store, tail.number, checkpoints), packs=False, offload=offload)
    then = Reader(Stage(store, tail.number, checkpoints, boundary, gone), packs=False, offload=offload)
    for source, oldest in points.items():
        is_cluster = any(name.startswith(f"{source}/") for name in tail.sources)
        asked = [each.entry for each in oldest if each.entry] + [tail.first + tail.count - 1]
        times = [each.time for each in oldest if each.time]
        ask = _cluster if is_cluster else _database
        one, other = [await ask(reader, tail, source, asked, times) for reader in (now, then)]
        for (what, before), (_, after) in zip(one, other, strict=True):
            if before != after:
                reason = f": {after.message}" if isinstance(after, _Said) else ""
                raise Refused(
                    f"{source}: {what} would not be as it is without what is to be retired{reason}",
                    hint="nothing was deleted; report it with the output of `archiver retain --dry-run --json`",
                )


async def _database(reader: Reader, tail: SegmentHeader, source: str, entries: list[int], times: list[int]) -> list[tuple[str, Any]]:
    mark = tail.sources[source]
    found = [
        (f"a restore to entry {entry}", await _try(plan_restore(reader, source, Point(str(entry), "entry", entry)))) for entry in entries
    ]
    found += [("a restore to a time", await _try(plan_restore(reader, source, Point(str(time), "time", time)))) for time in times]
    found.append(("the start of capture", await _try(read_journal(reader, source, mark))))
    found.append(("what is known of the schema", await _try(schema_knowledge(reader, source, mark, tail.number))))
    found.append(("the captured databases", await _try(named_databases(reader))))
    return found


async def _cluster(reader: Reader, tail: SegmentHeader, source: str, entries: list[int], times: list[int]) -> list[tuple[str, Any]]:
    cuts = [Cut(seq=entry) for entry in entries] + [Cut(time=time) for time in times]
    found = [(f"a restore at {cut}", await _try(_folds(reader, source, cut))) for cut in cuts]
    found.append(("the start of capture", await _try(_resumed(reader, tail, source))))
    return found


async def _folds(reader: Reader, source: str, cut: Cut) -> Any:
    return [
        (
            each.name,
            each.entry,
            each.observed,
            each.gaps,
            each.notes,
            dict(sorted(each.state.objects.items())),
            (each.state.resource, each.state.namespace, each.state.cluster, each.state.server, each.state.epoch),
            (each.state.listing, each.state.ended, each.state.selected, each.state.unwatched, each.state.loose, each.state.complete),
        )
        for each in await read_streams(reader, source, cut)
    ]


async def _resumed(reader: Reader, tail: SegmentHeader, source: str) -> Any:
    found = await resume_streams(reader, tail.sources, source)
    return {
        name: (each.state.position, each.state.listing, each.state.ended, each.agreed, dict(sorted(each.state.known().items())))
        for name, each in found.items()
    }


async def _try(answer: Any) -> Any:
    try:
        return await answer
    except Unavailable:
        raise
    except ArchiverError as error:
        return _Said(type(error).__name__, error.message)


class _Said(msgspec.Struct, frozen=True):
    """An error, as an answer."""

    kind: str
    message: str
