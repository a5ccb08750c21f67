"""Before a restore writes into a captured cluster: a mark that names it, and a record of what it is about to write.

What it replaces or deletes must be in the journal as it lives, and whole, or the mark would not have it. Why so: docs/design/0017-undo.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from archiver.clock import to_text
from archiver.errors import ArchiverError, Refused, Unavailable
from archiver.kubernetes import json_fields as kj
from archiver.kubernetes.redaction_mark import lacking_paths
from archiver.replay.kubernetes.fold import fold_streams
from archiver.replay.kubernetes.folded_stream import Cut
from archiver.replay.kubernetes.selection import label, name_of
from archiver.replay.kubernetes.undo_record import FORMAT, VERSION, UndoRecord, put_record, record_digest
from archiver.untrusted import Unreadable

if TYPE_CHECKING:
    from archiver.clock import Clock
    from archiver.journal.reader import Reader
    from archiver.replay.kubernetes.plan_file import PlanFile, PlannedObject
    from archiver.settings import Settings

REACHED_SECONDS = 30.0
"""How long the journal may take to have what lives."""
_PAUSE = 0.5


class UndoMarks:
    """Makes restores of one command undoable."""

    def __init__(
        self, settings: Settings, reader: Reader, clock: Clock, what: str, say: Callable[[str], None], *, undoes: str | None = None
    ) -> None:
        """``what``: of the command, for the names of marks; ``say``: for people, before anything is written. ``undoes``: the mark of the
        restore that is being undone.
        """
        self._settings, self._reader, self._clock = settings, reader, clock
        self._what, self._say, self._undoes = what, say, undoes
        self.marks: list[str] = []
        """That were set."""

    async def before(self, plan: PlanFile, no_undo: str = "") -> None:
        """Make it possible to undo ``plan``, of which nothing is written yet. ``no_undo``: why that is not possible, if that is known.

        Where that is not possible, ``Refused`` when it replaces or deletes anything; when it only creates, that is said and it goes on.
        """
        from archiver.service.marking import set_mark  # its driver takes long to load, and databases need none

        over = [each for each in plan.objects if each.do != "create"]
        try:
            if no_undo:
                raise Refused(no_undo)
            await self._require_known(plan.source, over)
            undoes = msgspec.UNSET if self._undoes is None else self._undoes
            record = UndoRecord(FORMAT, VERSION, "", 0, 0, plan, undoes)
            name = f"{self._what}-{to_text(self._clock.now())}-{self._clock.unique()[:8]}-{record_digest(record.write(), 'the record')}"
            mark = await set_mark(self._settings, self._clock, name, fresh=True)
            record = msgspec.structs.replace(record, mark=name, entry=mark.entry, time=mark.time)
            await put_record(self._reader.store, self._clock, record)
        except ArchiverError as error:
            if over:
                raise Refused(
                    f"{len(over)} objects would be replaced or deleted, and there would be no undo: {error.message}",
                    hint=f"{error.hint}; or say --no-undo" if error.hint else "say --no-undo where that is meant",
                ) from None
            self._say(f"no undo: {error.message}; what is created can be deleted by name")
            return
        self.marks.append(name)
        self._say(f"mark {name}: `archiver undo {name}` takes this back")

    async def _require_known(self, source: str, over: Sequence[PlannedObject]) -> None:
        """Wait until the journal has each of these objects as it lives. ``Unavailable`` when it does not come to that, ``Refused`` where
        it has one only without what is redacted.
        """
        deadline = self._clock.monotonic() + REACHED_SECONDS
        while over:
            tail = await self._reader.tail()
            folds = await fold_streams(self._reader, tail, source, Cut()) if tail is not None else []
            known = {
                (name_of(fold.state.resource), *key, seen.uid, seen.resource_version): seen.body
                for fold in folds
                if fold.state.resource is not None
                for key, seen in fold.state.objects.items()
            }
            missing = [each for each in over if (*each.key, each.uid, each.resource_version) not in known]
            if not missing:
                _require_whole(over, known)
                return
            if self._clock.monotonic() > deadline:
                raise Unavailable(
                    f"the journal does not have {len(missing)} of them as they live, first {label(missing[0].key)}",
                    hint="is the archiver running, and does it capture them? `archiver status` tells",
                )
            await self._clock.sleep(_PAUSE)


def _require_whole(over: Sequence[PlannedObject], known: Mapping[tuple[str, str, str, str, str], bytes]) -> None:
    """``Refused`` where the archive has an object only without what is redacted, with which it would not come back, or cannot read it."""
    cut = [each for each in over if not _is_whole(known[*each.key, each.uid, each.resource_version])]
    if cut:
        raise Refused(f"the archive has {len(cut)} of them without what is redacted, or cannot read them, first {label(cut[0].key)}")


def _is_whole(body: bytes) -> bool:
    try:
        return not lacking_paths(kj.plain(body))
    except Unreadable:
        return False
