"""What the page shows of a span, and of one row or object: the answers of ``archiver log``, within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from archiver.errors import Refused
from archiver.history.object_at import object_at
from archiver.history.objects import ObjectChange, ObjectRef, comparable, leaves, object_log, plain
from archiver.history.rows import RowChange, RowRef, row_log
from archiver.history.span.bounds import Bounds
from archiver.history.span.selection import Selection
from archiver.history.span.span_log import SpanLog
from archiver.kubernetes.stream_name import StreamName
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.replay.points import Point, parse_point, resolve
from archiver.timeline.sight import Sight
from archiver.timeline.values import Difference, Value, shown

if TYPE_CHECKING:
    from archiver.history.object_at import ObjectAt
    from archiver.history.span.changes import Change
    from archiver.journal.reader import Reader
    from archiver.timeline.questions import SpanQuestion, SubjectQuestion

EVERYTHING = Sight()
MOST_SHOWN = 200
"""Changes of a span that are given, the first ones."""
MOST_READ = 50_000
"""Changes of a span that are read."""
MOST_STATES = 200
"""Of one row or object that are given, the newest ones."""
MOST_FIELDS = 50
"""Of one change."""
_SHORT = 300
_WHOLE = 20_000


class NotSeen(Refused):
    """Whoever asks may not see it."""


class ShownChange(msgspec.Struct, frozen=True):
    """A line of the list. Names as ``archiver log --json`` has them."""

    entry: int
    at: int
    time: int
    source: str
    operation: str
    table: str
    kind: str
    namespace: str
    name: str
    key: dict[str, str | None]
    fields: list[Difference]
    more_fields: int
    about: str
    field_manager: str
    transaction: int
    late: bool
    happened_from: int
    happened_until: int


class SpanAnswer(msgspec.Struct, frozen=True):
    """The changes of a span, and what is not known of it."""

    changes: list[ShownChange]
    found: int
    """How many there are, or were read."""
    whole: bool
    """False: more than ``MOST_READ``; what is not known of the rest was not read."""
    gaps: list[str]
    notes: list[str]
    left_out: bool = False
    """There is more, and whoever asks may not see it; of that nothing is said, nor of what is not known of it."""


async def span_answer(reader: Reader, asked: SpanQuestion, begin: int, end: int, sight: Sight = EVERYTHING) -> SpanAnswer:
    """``begin``, ``end``: of the journal. Raises as ``SpanLog``."""
    tail = await reader.tail()
    names = sorted(tail.sources) if tail is not None else []
    seen = [name for name in names if await sight.may_have(name)]
    sources = frozenset(name.partition("/")[0] for name in seen)
    if sight.limited and not _is_seen(asked, seen):
        return SpanAnswer([], 0, True, [], [], left_out=True)
    start = Point("", "time", asked.since - 1) if asked.since > begin else None
    until = await resolve(reader, Point("", "time", asked.until - 1) if asked.until and asked.until <= end else parse_point("latest"))
    selection = Selection(
        sources=frozenset((asked.source,) if asked.source else sources if sight.limited else ()),
        tables=frozenset((asked.table,) if asked.table else ()),
        kinds=frozenset((asked.kind,) if asked.kind else ()),
        keys=asked.patterns,
    )
    log = SpanLog(reader, selection, Bounds(start, until))
    given, found, read, whole = list[ShownChange](), 0, 0, True
    async with aclosing(log.changes()) as changes:
        async for change in changes:
            read += 1
            found += (may := await sight.one(change.source, change.kind, change.namespace))
            if may and len(given) < MOST_SHOWN:
                given.append(_line(change))
            if read >= MOST_READ:
                whole = False
                break
    gaps, notes = [await _of_whole(texts, seen, sight) for texts in (log.gaps, log.notes)]
    return SpanAnswer(given, found, whole, gaps, notes, sight.limited)


def _is_seen(asked: SpanQuestion, seen: Sequence[str]) -> bool:
    """Whether something that is asked for may be seen, of streams and databases ``seen``; what is not there is no different."""
    names = [StreamName.parse(name) for name in seen]
    if asked.source:
        names = [each for each in names if each.source == asked.source]
    if asked.table:
        names = [each for each in names if not each.plural]
    if asked.kind:
        names = [each for each in names if each.plural and asked.kind in (each.plural, f"{each.plural}.{each.group}")]
    return bool(names)


async def _of_whole(texts: list[str], seen: Sequence[str], sight: Sight) -> list[str]:
    """Those that are of a database, or of a whole kind, that may be seen; others may name what may not be."""
    if not sight.limited:
        return texts
    whole = []
    for name in seen:
        stream = StreamName.parse(name)
        if await (sight.kind(stream.source, f"{stream.plural}.{stream.group}") if stream.plural else sight.whole(name)):
            whole.append(f"{name}: ")
    return [text for text in texts if text.startswith(tuple(whole))]


def _line(change: Change) -> ShownChange:
    fields = [
        Difference(
            each.name, shown(each.old, known=each.old_known is not False, longest=_SHORT), shown(each.new, longest=_SHORT)
        )
        for each in change.fields[:MOST_FIELDS]
    ]  # fmt: skip
    return ShownChange(
        change.entry, change.at, change.time, change.source, change.operation, change.table, change.kind, change.namespace, change.name,
        change.key, fields, max(0, len(change.fields) - MOST_FIELDS), change.detail[:_WHOLE], change.field_manager, change.transaction,
        change.late, change.happened_from, change.happened_until,
    )  # fmt: skip


class ShownState(msgspec.Struct, frozen=True):
    """One state of a row or object, or its end, or what is not known of it."""

    entry: int
    at: int
    """``--at`` this entry gives it; 0: none does."""
    time: int
    event: str
    by: str
    fields: list[Difference]
    more_fields: int
    detail: str
    state: Value | None
    late: bool = False
    happened_from: int = 0
    happened_until: int = 0


class LifeAnswer(msgspec.Struct, frozen=True):
    """One row's or object's states, the newest last."""

    states: list[ShownState]
    left_out: int
    """Older ones."""
    gaps: list[str] = []
    notes: list[str] = []
    doubts_left_out: bool = False
    """What is not known of it may tell of others, and is not said."""


async def life_answer(reader: Reader, asked: SubjectQuestion, sight: Sight = EVERYTHING) -> LifeAnswer:
    """Raises as ``row_log`` and ``object_log``; ``NotSeen``."""
    await require_seen(asked, sight)
    if asked.table:
        return await _row(reader, asked)
    found = await _object(reader, asked)
    if await sight.kind(asked.source, asked.kind):
        return found
    # That there is a gap the drawing tells, too; its words count and name what is not theirs.
    states = [msgspec.structs.replace(each, detail="") if each.event == "GAP" else each for each in found.states]
    return msgspec.structs.replace(found, states=states, gaps=[], notes=[], doubts_left_out=True)


async def require_seen(asked: SubjectQuestion, sight: Sight) -> None:
    """``NotSeen`` when whoever asks may not see it, whether it is there or not."""
    if not await sight.one(asked.source, asked.kind, asked.namespace):
        raise NotSeen("you may not read that here", hint="a right to list its kind there is needed, or one to its source")


async def _row(reader: Reader, asked: SubjectQuestion) -> LifeAnswer:
    ref = RowRef.parse(asked.table, [f"{name}={value}" for name, value in asked.key.items() if value is not None])
    changes, notes = list[RowChange](), list[str]()
    for each in await row_log(reader, asked.source, ref):
        if each.event == "NOTE":
            notes.append(each.detail)
        else:
            changes.append(each)
    found = await asyncio.to_thread(_row_states, changes)
    return LifeAnswer(found, len(changes) - len(found), notes=notes)


def _row_states(changes: Sequence[RowChange]) -> list[ShownState]:
    """As ``_object_states``."""
    found, before = list[ShownState](), dict[str, str | None]()
    for number, each in enumerate(changes, MOST_STATES - len(changes)):
        if number >= 0:
            fields = [] if each.event == "GAP" else _differences(before, each.state or {})
            by = ", ".join(text for text in (f"transaction {each.xid}" if each.xid else "", each.lsn) if text)
            found.append(_state(each.entry, each.commit_entry or each.entry, each.time, each.event, by, fields, each.detail, each.state))
        if each.event != "GAP":
            before = each.state or {}
    return found


async def _object(reader: Reader, asked: SubjectQuestion) -> LifeAnswer:
    ref = ObjectRef(asked.kind, asked.namespace, asked.name)
    changes = await object_log(reader, asked.source, ref)
    found = await asyncio.to_thread(_object_states, changes)
    known: ObjectAt = await object_at(reader, asked.source, ref, Cut.at(await resolve(reader, parse_point("latest"))))
    return LifeAnswer(found, len(changes) - len(found), known.gaps, known.notes)


def _object_states(changes: Sequence[ObjectChange]) -> list[ShownState]:
    """The newest ones; the others are only what they differ from."""
    found, before = list[ShownState](), dict[str, Any]()
    for number, each in enumerate(changes, MOST_STATES - len(changes)):
        after = each.state or {}
        told = each.event == "GAP" or each.late
        if number >= 0:
            fields = [] if told else _differences(*_comparable(before, after))
            made = _state(each.entry, each.entry, each.observed, each.event, each.manager, fields, each.detail, each.state)
            found.append(msgspec.structs.replace(made, late=each.late, happened_from=each.since, happened_until=each.until))
        if not told:
            before = after
    return found


def _comparable(before: dict[str, Any], after: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """An object that is not there has no mark, and all of the other is shown."""
    if before and after:
        return comparable(before, after)[:2]
    return plain(before) if before else {}, plain(after) if after else {}


def _differences(before: dict[str, Any], after: dict[str, Any]) -> list[Difference]:
    return [Difference(path, shown(old), shown(new)) for path, old, new in leaves(before, after)]


def _state(entry: int, at: int, time: int, event: str, by: str, fields: list[Difference], detail: str, state: Any) -> ShownState:
    whole = None if state is None else shown(msgspec.json.format(msgspec.json.encode(state), indent=2).decode(), longest=_WHOLE)
    at = 0 if event == "GAP" else at
    return ShownState(entry, at, time, event, by, fields[:MOST_FIELDS], max(0, len(fields) - MOST_FIELDS), detail[:_WHOLE], whole)
