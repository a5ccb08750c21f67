"""The order of owners and what they own, and owners under new UIDs."""

from __future__ import annotations

from hypothesis import given, settings

from archiver.replay.kubernetes.owners import levels, owner_uids, rebound, references
from tests.unit.replay.kubernetes.objects import forests, manifest, reachable


@given(forests)
@settings(max_examples=400, deadline=None)
def test_owners_stand_above_what_they_own(owned: dict[str, list[str]]) -> None:
    """In any graph of owners every owner has a smaller level than what it owns, unless the two own each other in a circle."""
    depth = levels(owned)
    assert depth.keys() == owned.keys()
    for one, above in owned.items():
        inside = [owner for owner in above if owner in owned]
        assert depth[one] > 0 or not [owner for owner in inside if one not in reachable(owned, owner)]
        for owner in inside:
            if one != owner and one not in reachable(owned, owner):
                assert depth[owner] < depth[one]


def test_a_long_chain_is_no_deep_recursion() -> None:
    """Ten thousand objects, each owned by the one before."""
    owned = {str(number): [str(number - 1)] for number in range(10_000)}
    assert levels(owned)["9999"] == 9999


def test_owners_get_their_new_uids_and_lost_ones_are_named() -> None:
    """A reference keeps everything but the UID; an owner that is nowhere is left out, or the object would be collected at once."""
    captured = manifest("a", "b", "c")
    kept, lost = rebound(references(captured), {"uid-b": "new-b"})
    assert kept == [{**references(captured)[0], "uid": "new-b"}]
    assert lost == ["Run/c"]
    assert owner_uids(captured) == ["uid-b", "uid-c"]


def test_an_object_without_owners_has_none() -> None:
    """Neither without the field nor with an empty one."""
    assert references(manifest("a")) == references({"metadata": {}}) == references({"metadata": {"ownerReferences": None}}) == []
