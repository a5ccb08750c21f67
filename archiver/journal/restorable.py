"""Which points of each source an archive can still give back, from what ``verify`` met on its way. Pure.

A restore begins with a complete state of the source, a checkpoint, and reads from the first entry that it needs up to the point. So a
bad segment costs the points that are read across it, and a bad part those that begin with it; the points behind a later checkpoint need
neither.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from archiver.journal.boundary import Floor
from archiver.journal.chain import End
from archiver.journal.entry import Placed, SourceMark
from archiver.journal.record_reader import read_record


class Restorable(msgspec.Struct, frozen=True):
    """A stretch of points of one source: every entry from ``from_entry`` to ``to_entry``, every time from ``from_time`` to before
    ``before_time``.
    """

    source: str
    from_entry: int
    from_time: int
    to_entry: int
    before_time: int
    """0: the stretch goes to the journal's end."""
    proved: bool = True
    """Everything before it is whole: behind a bad segment nothing proves that what follows is what followed when it was written."""


class _Complete(msgspec.Struct):
    """What a Snapshot and a Listing say of where a restore begins: the one counts from where it reads on, the other from itself."""

    taken: int = 0
    replay_from: int = 0
    first: int = 0
    cause: str = ""


class _Beginning(msgspec.Struct):
    entry: int
    """First point that begins here."""
    time: int
    needs: int
    """First entry that is read."""
    at: int
    """The checkpoint's own entry."""
    whole: bool = True
    bad_from: int = 0
    """With ``whole`` false: the first point that needs the part which is bad."""
    bad_time: int = 0


class _Source(msgspec.Struct):
    beginnings: list[_Beginning] = []
    timed: bool = False
    """Its points in time go by the source's own clock, not by when entries were received."""


class Stretches:
    """Fed in the journal's order: checkpoints, bad parts and the edges of what is bad."""

    def __init__(self) -> None:
        self._sources: dict[str, _Source] = {}
        self._found: list[Restorable] = []
        self._floors: Mapping[str, Floor] = {}
        self._first = 1
        """First entry of the stretch that is being read."""
        self._proved = True

    def checkpoint(self, placed: Placed, mark: SourceMark, seq: int, body: bytes) -> int:
        """A complete state, and when it was taken. ``mark``: of its source after its segment. Raises ``Corrupt``."""
        said = read_record(body, _Complete, placed)
        source = self._sources.setdefault(placed.run.source, _Source())
        source.timed = said.taken > 0
        entry = said.replay_from if source.timed and said.cause == "baseline" else seq
        time = said.taken if source.timed else mark.observed
        floor = self._floors.get(placed.run.source.partition("/")[0])
        if floor is not None:
            # What else a restore to before the floor needs may be gone.
            entry, time = max(entry, floor.entry), max(time, floor.time)
        found = _Beginning(entry, time, said.replay_from or said.first or seq, seq)
        if found.needs < self._first:
            # It straddles what is bad: it serves no point, and those before that would begin with it are lost.
            self._cut(placed.run.source, found)
        else:
            source.beginnings.append(found)
        return time

    def retired(self, sources: Mapping[str, SourceMark], floors: Mapping[str, Floor]) -> None:
        """Nothing was read yet, and what stood before is retired: of those of ``sources`` that were complete there, points from their floor
        on begin with checkpoints that were kept. ``floors``: by name as in the settings; nothing before them is promised.
        """
        self._floors = floors
        for name, mark in sources.items():
            floor = floors.get(name.partition("/")[0])
            if floor is not None and mark.checkpoint:
                self._sources[name] = _Source([_Beginning(floor.entry, floor.time, floor.entry, 0)], timed="/" not in name)

    def bad_part(self, source: str, seq: int, *, needed_from: int, time: int) -> None:
        """Entry ``seq`` names a part that is bad: what begins with that checkpoint, or with a copy of a table behind it, is lost."""
        beginnings = self._sources.setdefault(source, _Source()).beginnings
        if not beginnings:
            return
        last = beginnings[-1]
        if last.whole:
            last.whole = False
            last.bad_from, last.bad_time = (last.entry, last.time) if last.at == seq else (needed_from, time)

    def broken(self, end: End) -> None:
        """What follows ``end`` is bad."""
        self._close(end.next - 1, end.sources, broken=True)
        self._proved = False

    def resumed(self, first: int) -> None:
        """Reading goes on with entry ``first``."""
        self._first = first

    def result(self, end: End) -> list[Restorable]:
        """Everything, by source. ``end``: the journal's end, or where nothing more could be read."""
        self._close(end.next - 1, end.sources, broken=False)
        return sorted(self._found, key=lambda each: (each.source, each.from_entry))

    def _close(self, last: int, marks: Mapping[str, SourceMark], *, broken: bool) -> None:
        for name, source in self._sources.items():
            if not source.beginnings:
                continue
            mark = marks.get(name, SourceMark())
            end = (mark.changed if source.timed else mark.observed) if broken else 0
            found: list[Restorable] = []
            beginnings = source.beginnings
            for number, each in enumerate(beginnings):
                following = beginnings[number + 1] if number + 1 < len(beginnings) else None
                to, before = (following.entry - 1, following.time) if following else (last, end)
                if not each.whole:
                    to, before = min(to, each.bad_from - 1), each.bad_time
                if to < each.entry:
                    continue
                if found and found[-1].to_entry == each.entry - 1 and found[-1].before_time == each.time:
                    found[-1] = msgspec.structs.replace(found[-1], to_entry=to, before_time=before)
                else:
                    found.append(Restorable(name, each.entry, each.time, to, before, self._proved))
            self._found += found
            source.beginnings = []

    def _cut(self, source: str, straddling: _Beginning) -> None:
        kept: list[Restorable] = []
        for each in self._found:
            if each.source == source and each.to_entry >= straddling.entry:
                if each.from_entry >= straddling.entry:
                    continue
                before = min(each.before_time, straddling.time) if each.before_time else straddling.time
                kept.append(msgspec.structs.replace(each, to_entry=straddling.entry - 1, before_time=before))
            else:
                kept.append(each)
        self._found = kept
