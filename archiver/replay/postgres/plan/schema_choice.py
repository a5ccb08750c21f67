"""Which schema entry is the schema at a point. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from archiver.postgres.records import Schema
from archiver.postgres.schema_comparison import same_schema
from archiver.postgres.visibility import Committed, Visible
from archiver.replay.postgres.plan.journal_survey import FoundRecord


@dataclass(frozen=True, slots=True)
class SchemaChoice:
    """The entry, and whether it is known to be right."""

    found: FoundRecord[Schema]
    certain: bool
    reason: str
    change: FoundRecord[Schema] | None = None
    """The entry that differs although nobody announced it, when that may have been before the point: the schema there is not known."""
    unwatched: bool = False
    """Nobody announces changes, and no look from behind the point tells that there was none."""
    unseen: Sequence[Committed] = ()
    """Transactions before the point that surely changed the schema, and whose change no entry has that can be used: the schema there is
    not known."""
    otherwise: SchemaChoice | None = None
    """With ``change``: what holds where that is no more than rights, or none: such changes are announced by whoever likes."""


_Unsettled = Callable[[FoundRecord[Schema], FoundRecord[Schema] | None, Sequence[Committed], Sequence[Committed]], list[Committed]]


@dataclass(frozen=True, slots=True)
class Changes:
    """Transactions that announced changes, on either side of the point."""

    before: Sequence[Committed] = field(default_factory=list)
    behind: Sequence[Committed] = field(default_factory=list)
    sealed: frozenset[Committed] = frozenset()
    """Those of both that nobody but our event trigger can have announced. The rest anybody may have, for nothing."""

    @property
    def surely(self) -> Changes:
        """``sealed`` alone."""
        before, behind = ([each for each in side if each in self.sealed] for side in (self.before, self.behind))
        return Changes(before, behind, self.sealed)

    def missing(self, found: FoundRecord[Schema]) -> list[Committed]:
        """Those before the point that the entry has not seen."""
        visible = Visible.of(found.record)
        return [each for each in self.before if not visible.sees(*each)]

    def excess(self, found: FoundRecord[Schema]) -> list[Committed]:
        """Those behind the point that the entry has seen."""
        visible = Visible.of(found.record)
        return [each for each in self.behind if visible.sees(*each)]


def _none(one: Schema, other: Schema) -> Changes:
    del one, other
    return Changes()


def choose(
    schemas: Sequence[FoundRecord[Schema]],
    *,
    before: Callable[[FoundRecord[Schema]], bool],
    changed: Changes,
    perhaps: Callable[[Schema, Schema], Changes] = _none,
    unchanged: Callable[[FoundRecord[Schema], FoundRecord[Schema] | None], bool],
    unsettled: _Unsettled,
    sealed: Callable[[FoundRecord[Schema], FoundRecord[Schema]], bool] = lambda *_: False,
) -> SchemaChoice:
    """The schema at the point.

    ``schemas``: not empty, oldest first, as far as the first one behind the point. ``before``: the entry has nothing from behind the
    point. ``changed``: what was announced and shows in the next entry. ``perhaps``: what was announced and mostly shows in none, but may be
    what differs between two. ``unchanged``: whether a look from behind the point, before the second entry if there is one, still found the
    first. ``unsettled``: those of the third argument that no look saw which found the first and saw none of the last. It may have been
    taken behind the point.

    Where changes are announced, the entry that sees all of those before the point and none behind it is exact. Where they are not, the
    newest entry before the point is, unless the next one says something else: the change then lies somewhere between, but not before the
    last look that still found nothing. Triggers can be off for a while, so this holds with announcements too.

    Anybody who may log in can announce what never happened. What was announced before a look that found the old schema changed nothing, as
    long as nothing was announced between the point and that look. So what is in doubt is looked at again with sealed announcements alone:
    in doubt with those too, the schema is not known; otherwise others made it so, and it may be for nothing.

    ``sealed``: whether what changed between two entries was announced with seals, if at all. What the sealed announcements alone do not
    explain there was announced by nobody, whatever others sent.
    """
    earlier = [found for found in schemas if before(found)]
    later = next((found for found in schemas if not before(found)), None)
    newest = earlier[-1] if earlier else None
    if newest is not None and newest.announces:
        choice = _announced(newest, later, changed, perhaps, unchanged, unsettled)
        if choice.change is not None:
            return choice
        surely = _announced(newest, later, changed.surely, lambda *of: perhaps(*of).surely, unchanged, unsettled)
        if later is not None and surely.change is not None and sealed(newest, later):
            return replace(surely, otherwise=_doubted(choice, surely))
        return _doubted(choice, surely)
    if newest is None:
        assert later is not None
        return SchemaChoice(
            later, certain=False, reason="the journal has no schema entry from before the point; this is the first one after it"
        )
    if later is None and unchanged(newest, None):
        return SchemaChoice(newest, certain=True, reason="the newest one, and a look from behind the point still found it")
    if later is None:
        return SchemaChoice(newest, certain=False, reason="the newest one", unwatched=True)
    if same_schema(newest.record, later.record):
        return SchemaChoice(newest, certain=True, reason="the entries before and after the point say the same")
    if unchanged(newest, later):
        return SchemaChoice(newest, certain=True, reason=f"the newest one before the point; the change in entry {later.ref.seq} came later")
    return _unannounced(newest, later)


def _doubted(choice: SchemaChoice, surely: SchemaChoice) -> SchemaChoice:
    """``choice`` is by all announcements, ``surely`` by the sealed ones alone."""
    if choice.certain:
        return choice
    if surely.unseen:
        return surely
    # The newest may lack what surely happened before the point; a later one has that, and perhaps what others announced behind it.
    return replace(surely if surely.certain else choice, certain=False, reason=choice.reason, unseen=())


def _unannounced(newest: FoundRecord[Schema], later: FoundRecord[Schema]) -> SchemaChoice:
    return SchemaChoice(
        newest,
        certain=False,
        reason=f"the newest one before the point; entry {later.ref.seq} says something else, and the change was not announced",
        change=later,
    )


def _announced(
    newest: FoundRecord[Schema],
    later: FoundRecord[Schema] | None,
    changed: Changes,
    perhaps: Callable[[Schema, Schema], Changes],
    unchanged: Callable[[FoundRecord[Schema], FoundRecord[Schema] | None], bool],
    unsettled: _Unsettled,
) -> SchemaChoice:
    missing = changed.missing(newest)
    if missing:
        missing = unsettled(newest, later, missing, changed.behind)
    if not missing:
        differs = later is not None and not same_schema(newest.record, later.record) and not unchanged(newest, later)
        if later is None or changed.excess(later) or not differs:
            return SchemaChoice(newest, certain=True, reason="it has every announced change up to the point and none after it")
        other, seen = perhaps(newest.record, later.record), Visible.of(later.record)
        missing, excess = [each for each in other.missing(newest) if seen.sees(*each)], other.excess(later)
        if missing and excess:
            return _between(newest, missing, other)
        if excess:
            return SchemaChoice(newest, certain=True, reason="what it lacks of the next one was announced after the point")
        if not missing:
            return _unannounced(newest, later)
    if later is not None and not changed.missing(later) and not changed.excess(later):
        return SchemaChoice(
            later, certain=True, reason="written after the point; it has every announced change up to the point and none after it"
        )
    return _between(newest, missing, changed)


def _between(newest: FoundRecord[Schema], missing: Sequence[Committed], changed: Changes) -> SchemaChoice:
    return SchemaChoice(
        newest,
        certain=False,
        reason=f"{len(missing)} announced changes before the point are not in it, and no entry was written before the next change",
        unseen=missing if changed.sealed.issuperset(missing) else (),
    )
