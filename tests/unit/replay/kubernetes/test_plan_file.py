"""Whether a plan that was looked at still holds."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from archiver.errors import Invalid
from archiver.replay.kubernetes.manifests import Manifest
from archiver.replay.kubernetes.plan import Mode, make_plan
from archiver.replay.kubernetes.plan_file import FORMAT, VERSION, Choices, PlanFile, departures, digest, planned_objects, told
from archiver.replay.kubernetes.selection import Key
from tests.unit.replay.kubernetes.objects import RUNS, manifest, selection

OWNER = "uid-outside"


def live(name: str, version: str = "5", uid: str = "", **parts: Any) -> Manifest:
    made = manifest(name, **parts)
    made["metadata"] |= {"uid": uid or f"live-{name}", "resourceVersion": version}
    return made


def plan(held: list[Manifest], *, mode: Mode = "exact", owners: dict[str, str] | None = None, spec: object = 1, **changed: Any) -> PlanFile:
    """Of an object that is not there, one that is, and one that is owned by one outside of the plan."""
    chosen = selection(manifest("new", "held", spec=spec), manifest("held"), manifest("owned", "outside"))
    there: dict[Key, Manifest] = {(RUNS, "n", each["metadata"]["name"]): each for each in held}
    bound = {OWNER: OWNER} if owners is None else owners
    made, objects = make_plan("kube", chosen, there, mode=mode, owners=bound)
    file = PlanFile(FORMAT, VERSION, 1, "v", "archive", "kube", "9", 9, "ca=a uid=u", "ca=b uid=w", "kubeconfig:k", Choices(), [])
    return msgspec.structs.replace(file, objects=planned_objects(made, objects, there, bound), **changed)


def test_a_plan_holds_as_long_as_nothing_that_it_writes_changed() -> None:
    """Its time and words are no part of that; nor is what it leaves alone."""
    before = plan([live("held")])
    assert [(each.name, each.do, each.uid, each.resource_version, each.owners) for each in before.objects] == [
        ("held", "replace", "live-held", "5", []),
        ("owned", "create", "", "", [OWNER]),
        ("new", "create", "", "", ["live-held"]),
    ]
    assert departures(before, plan([live("held")], made=2, by="w", cluster="ca=other uid=w")) == []
    kept = plan([live("held")], mode="create-missing")
    assert departures(kept, plan([live("held", "6", more=1)], mode="create-missing")) == []


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (plan([live("held", "6")]), "held: was changed in the target since"),
        (plan([live("held", uid="x")]), "held: is another object in the target, of the same name"),
        (plan([]), "held: is gone from the target"),
        (plan([live("held"), live("new")]), "new: is there now, and was not"),
        (plan([live("held")], spec=2), "new: the archive has another state of it at that point"),
        (plan([live("held")], owners={}), "owned: its owners in the target are other ones"),
        (plan([live("held")], archive="b"), "it is of another archive (archive, not b)"),
        (plan([live("held")], source="b"), "it is of another source (kube, not b)"),
        (plan([live("held")], cluster="ca=b uid=other"), "it is of another target cluster (ca=b uid=w, not ca=b uid=other)"),
        (plan([live("held")], cluster="ca=c uid="), "it is of another target cluster (ca=b uid=w, not ca=c uid=)"),
    ],
)
def test_what_changed_is_told_by_name(now: PlanFile, words: str) -> None:
    """Each object for itself; many are cut."""
    found = departures(plan([live("held")]), now)
    assert any(text.endswith(words) for text in found), found
    assert told([f"{number}" for number in range(25)]).endswith("19; and 5 more")


def test_what_a_mode_leaves_alone_may_not_become_written() -> None:
    """An object that was planned to be made and is there by now is named."""
    missing, there = (plan(held, mode="create-missing") for held in ([], [live("held")]))
    (words,) = [text for text in departures(missing, there) if "n/held" in text]
    assert words == f"{RUNS} n/held: create was planned, and now it is unchanged"


def test_the_hash_is_of_what_is_written() -> None:
    """Not of what servers set, nor of the order of members."""
    one, other = manifest("a", spec={"x": 1, "y": [1]}), manifest("a", spec={"y": [1], "x": 1})
    other["metadata"]["resourceVersion"] = "8"
    assert digest(one) == digest(other)
    assert digest(one) != digest(manifest("a", spec={"x": 1, "y": [2]}))


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        (Choices(moves={"a": "c", "b": "c"}), "objects of two namespaces would meet in c"),
        (Choices(moves={"": "x"}), "is not OLD=NEW"),
        (Choices(moves={"a": "x/../../secrets"}), "is not OLD=NEW"),
        (Choices(moves={"a": "b=c"}), "is not OLD=NEW"),
        (Choices(moves={"a": "c"}, namespaces=["b"]), "--namespace leaves it out"),
        (Choices(objects=["agentruns"]), "does not name an object"),
    ],
)
def test_choices_that_no_command_line_may_say_are_refused(choices: Choices, words: str) -> None:
    """A file may come from anybody; two namespaces in one, for example, would write the objects of one over those of the other."""
    with pytest.raises(Invalid, match=words):
        _ = choices.scope


def test_what_a_plan_allows_is_told() -> None:
    """What would be refused without the option, what replaces, and what others depend on."""
    chosen = Choices(mode="exact", into_source=True, allow_controllers=True, allow_gaps=True, leases=["n/l"], moves={"a": "b"})
    told_of = ["--into-source", "--allow-controllers", "--allow-gaps", "--mode exact", "--hold-lease n/l", "--into-namespace a=b"]
    assert chosen.allowed == told_of
    assert Choices().allowed == []
