"""Which record an undo takes: only one that its mark in the journal stands for, and never by itself one of an undo."""

from __future__ import annotations

import msgspec
import pytest

from archiver.errors import Corrupt, Invalid
from archiver.journal.keys import undo_key
from archiver.journal.marks import mark_run
from archiver.journal.reader import Reader
from archiver.replay.kubernetes.plan_file import Choices, PlanFile
from archiver.replay.kubernetes.undo_record import UndoRecord, record_digest
from archiver.replay.kubernetes.undo_search import find_record
from tests.unit.journal.forge import ARCHIVE, Forgery


class Rig:
    """A journal with marks, and records beside it."""

    def __init__(self) -> None:
        self.made = Forgery()
        self.made.open()
        self.records: list[UndoRecord] = []

    def restore(self, name: str, *, undoes: str = "", archive: str = ARCHIVE) -> UndoRecord:
        """As a restore leaves it, but perhaps of another archive."""
        choices = Choices(namespaces=[name], mode="exact")
        plan = PlanFile("archiver-cluster-plan", 1, 1, "0", archive, "agents", "5", 5, "c", "c", "kubeconfig:x", choices, [])
        draft = UndoRecord("archiver-undo", 1, "", 0, 0, plan, undoes or msgspec.UNSET)
        mark, entry = f"{name}-{record_digest(draft.write(), 'x')}", self.made.end.next
        self.made.add(mark_run(mark, 7))
        record = msgspec.structs.replace(draft, mark=mark, entry=entry, time=7)
        self.put(record)
        return record

    def put(self, record: UndoRecord, entry: int = 0) -> str:
        key = undo_key(entry or record.entry)
        assert self.made.store.create(key, record.write())
        return key

    async def found(self, mark: str = "") -> UndoRecord:
        return await find_record(Reader(self.made.store), mark)


async def test_the_newest_restore_is_taken_and_each_by_its_mark_but_an_undo_only_by_its_own() -> None:
    """Running the command again without a mark means the same restore again."""
    rig = Rig()
    with pytest.raises(Invalid, match="no restore is recorded"):
        await rig.found()
    older, newer = rig.restore("older"), rig.restore("newer")
    undo = rig.restore("undo", undoes=newer.mark)
    assert await rig.found() == newer
    assert [await rig.found(each.mark) for each in (older, newer, undo)] == [older, newer, undo]
    with pytest.raises(Invalid, match="no restore with the mark 'other' is recorded"):
        await rig.found("other")


async def test_a_record_that_its_mark_does_not_stand_for_is_none() -> None:
    """Under another key, of another place, of another archive, with another plan: told when it may be the newest, and no obstacle to the
    restore that has the mark.
    """
    for damage in ("key", "entry", "behind", "plan", "field", "name", "archive"):
        rig = Rig()
        true = rig.restore("true")
        rig.made.add(mark_run("theirs", 8))
        newest = rig.made.end.next - 1
        scope = msgspec.structs.replace(true.plan, choices=Choices(mode="exact"))
        match damage:
            case "key":
                rig.put(true, newest)
            case "entry":
                rig.put(msgspec.structs.replace(true, entry=newest))
            case "behind":
                rig.put(msgspec.structs.replace(true, entry=newest + 100))
            case "plan":
                rig.put(msgspec.structs.replace(true, entry=newest, plan=scope))
            case "field":
                rig.made.store.create(undo_key(newest), true.write().replace(b'"plan"', b'"more": 1, "plan"', 1))
            case "name":
                rig.put(msgspec.structs.replace(true, entry=newest, mark="theirs", plan=scope))
            case "archive":
                rig.restore("foreign", archive="0" * 32)
        with pytest.raises(Corrupt, match="is no record of a restore here") as caught:
            await rig.found()
        assert "archiver undo MARK" in caught.value.hint, damage
        assert await rig.found(true.mark) == true, damage


async def test_one_bad_object_stops_no_undo_but_the_one_that_it_may_be() -> None:
    """Damage and a later version alike; a restore whose own record is bad is told so."""
    rig = Rig()
    true = rig.restore("true")
    last = rig.made.end.next
    rig.made.store.create(undo_key(last + 1), b"nothing")
    rig.made.store.create(undo_key(last + 2), true.write().replace(b'"version": 1', b'"version": 2', 1))
    assert await rig.found(true.mark) == true
    with pytest.raises(Invalid, match="this version reads archiver-undo 1"):
        await rig.found()
    with pytest.raises(Corrupt, match=r"no restore with the mark 'other' is recorded that could be undone, and .*is no record"):
        await rig.found("other")
