"""What an undo does with each object that a restore wrote."""

from __future__ import annotations

from typing import Any

import pytest

from archiver.replay.kubernetes.manifests import Manifest
from archiver.replay.kubernetes.plan import Do
from archiver.replay.kubernetes.plan_file import PlannedObject
from archiver.replay.kubernetes.selection import DEFINITIONS
from archiver.replay.kubernetes.undo_choice import choose
from tests.unit.replay.kubernetes.objects import RUNS, manifest

KEY = (RUNS, "n", "a")


def state(value: int | None, uid: str = "uid-a", *owners: str, **metadata: Any) -> Manifest | None:
    if value is None:
        return None
    made = manifest("a", *owners, spec={"value": value})
    made["metadata"] |= {"uid": uid, **metadata}
    return made


def chosen(do: Do, was: Manifest | None, wanted: Manifest | None, there: Manifest | None) -> tuple[str, bool]:
    each = PlannedObject(do, "", *KEY, uid="uid-a")
    before, restored, live = ({KEY: one} if one else {} for one in (was, wanted, there))
    (choice,) = choose([each], before, restored, live, {"uid-owner": "new-owner"})
    return choice.do, choice.changed


@pytest.mark.parametrize(
    ("do", "was", "wanted", "there", "becomes"),
    [
        ("create", None, 1, 1, ("delete", False)),
        ("create", None, 1, 2, ("delete", True)),
        ("create", None, 1, None, ("leave", False)),
        ("create", 1, 1, 1, ("leave", False)),
        ("create", None, None, 1, ("delete", True)),
        ("replace", 2, 1, 1, ("put back", False)),
        ("replace", 2, 1, 2, ("leave", False)),
        ("replace", 2, 1, 3, ("put back", True)),
        ("replace", 2, 1, None, ("put back", True)),
        ("replace", None, 1, 1, ("leave", False)),
        ("delete", 2, None, None, ("put back", False)),
        ("delete", 2, None, 2, ("leave", False)),
        ("delete", None, None, None, ("leave", False)),
    ],
)
def test_each_object_by_its_three_states(do: Do, was: int | None, wanted: int | None, there: int | None, becomes: tuple[str, bool]) -> None:
    """At the mark, as it was restored, and now: only what is as the restore left it goes without a word."""
    assert chosen(do, state(was), state(wanted), state(there)) == becomes


def test_what_was_deleted_and_is_another_one_now() -> None:
    """Made anew by others: the same contents are left, others are theirs; what is on its way out is waited for."""
    assert chosen("delete", state(2), None, state(2, "other")) == ("leave", False)
    assert chosen("delete", state(2), None, state(3, "other")) == ("put back", True)
    assert chosen("delete", state(2), None, state(2, deletionTimestamp="now")) == ("leave", False)


def test_what_cannot_be_put_back_now_is_a_problem_and_what_was_not_reached_is_none() -> None:
    """One that is being deleted goes afterwards; one that the archive does not have at the mark is as it was, or it is lost."""
    going = {"deletionTimestamp": "now"}
    for do, was, there, problem in (
        ("delete", state(2), state(2, **going), True),
        ("delete", state(2), state(2, "other", **going), True),
        ("replace", state(2), state(1, **going), True),
        ("replace", state(2), state(1), False),
        ("replace", None, state(1), True),
        ("replace", None, state(1, resourceVersion="5"), False),
        ("delete", None, None, True),
    ):
        each = PlannedObject(do, "", *KEY, uid="uid-a", resource_version="5")  # type: ignore[arg-type]
        before, restored, live = ({KEY: one} if one else {} for one in (was, state(1), there))
        (choice,) = choose([each], before, restored, live, {})
        assert choice.problem == problem, (do, choice)
        assert not problem or choice.do == "leave"


def test_volumes_that_a_restore_made_stay() -> None:
    """What was written to them since is nowhere else."""
    key = ("persistentvolumeclaims", "n", "a")
    made = state(1)
    assert made is not None
    (choice,) = choose([PlannedObject("create", "", *key)], {}, {key: made}, {key: made}, {})
    assert choice.do == "leave"


def test_what_was_merged_is_known_by_what_the_merge_made() -> None:
    """Fields that were laid over, and those that were left; then it is as the restore left it."""
    was, wanted = state(2), state(1)
    assert was is not None
    was["spec"]["theirs"] = True
    assert chosen("merge", was, wanted, {**was, "spec": {"value": 1, "theirs": True}}) == ("put back", False)
    assert chosen("merge", was, wanted, {**was, "spec": {"value": 1}}) == ("put back", True)
    assert chosen("merge", was, wanted, was) == ("leave", False)


def test_owners_are_those_of_the_target_and_definitions_stay() -> None:
    """What was created has the new UID of its owner; one with the old UID was written by others."""
    made = state(1, "new", "owner")
    assert made is not None
    made["metadata"]["ownerReferences"][0]["uid"] = "new-owner"
    assert chosen("create", None, state(1, "uid-a", "owner"), made) == ("delete", False)
    (choice,) = choose([PlannedObject("create", "", DEFINITIONS, "", "runs.g.io")], {}, {}, {}, {})
    assert choice.do == "leave"
