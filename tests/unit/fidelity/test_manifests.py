"""Folders of YAML are states of a cluster."""

from __future__ import annotations

from pathlib import Path

from fidelity.kubernetes import OBJECTS
from fidelity.manifests import DEFINITION, identity, states


def test_subfolders_are_states_one_after_the_other() -> None:
    """Definitions come first; every document counts."""
    found = states(OBJECTS, 3)
    assert [state.label for state in found] == ["01-begin", "02-change", "03-schema", "04-gone", "05-again"]
    assert all(state.objects[0]["kind"] == DEFINITION for state in found)
    gone = {identity(each) for each in found[2].objects} - {identity(each) for each in found[3].objects}
    assert ("apiextensions.k8s.io", DEFINITION, "", "plains.other.example.org") in gone


def test_states_have_steps_between_them_where_there_are_more_points() -> None:
    """What goes is gone first; the last step is the state itself."""
    found = states(OBJECTS, 10)
    assert [state.label for state in found][:4] == ["01-begin, part 1 of 2", "01-begin", "02-change, part 1 of 2", "02-change"]
    assert len(found) == 10
    whole = states(OBJECTS, 5)
    assert [state.objects for state in found[1::2]] == [state.objects for state in whole]
    gone = {identity(each) for each in whole[2].objects} - {identity(each) for each in whole[3].objects}
    between = {identity(each) for each in found[6].objects}
    assert {identity(each) for each in whole[3].objects} <= between | gone
    assert len(between) < len(whole[2].objects)


def test_a_folder_without_subfolders_grows(tmp_path: Path) -> None:
    """In as many steps as there are points; lists are opened, what is no object or no YAML is passed by."""
    (tmp_path / "a.yaml").write_text(
        "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: A, metadata: {name: x}}]}\n---\nnothing\n"
    )
    (tmp_path / "b.yml").write_text("{apiVersion: v1, kind: A, metadata: {name: y}}\n---\n{apiVersion: v1, kind: B, metadata: {name: z}}\n")
    (tmp_path / "c.yaml").write_text("{{ template }}: [\n")
    assert [[identity(each)[3] for each in state.objects] for state in states(tmp_path, 3)] == [["x"], ["x", "y"], ["x", "y", "z"]]
