"""What of an object is compared."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.replay.kubernetes.manifests import differing
from tests.unit.replay.kubernetes.objects import manifest

leaves = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=3))
documents = st.recursive(
    leaves, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)), max_leaves=8
)
specs = st.dictionaries(st.text(max_size=3), documents, max_size=4)


@given(specs, specs, st.sampled_from(["spec", "status", "data"]))
@settings(max_examples=300, deadline=None)
def test_any_difference_is_found(one: dict[str, Any], other: dict[str, Any], part: str) -> None:
    """Two objects differ in a part exactly when it is reported; names and contents of parts do not matter."""
    found = differing(manifest("a", **{part: one}), manifest("a", **{part: other}), {})
    assert bool(found) == (json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True))
    assert all(path.startswith(part) for path in found)


@given(st.sampled_from(["labels", "annotations", "finalizers", "name", "ownerReferences"]), st.booleans())
def test_differences_of_metadata_are_found(field: str, gone: bool) -> None:
    """Labels, annotations, finalizers and owners count; uid, resourceVersion and what else the server sets does not."""
    captured = manifest("a", "b", spec={})
    captured["metadata"] |= {"labels": {"a": "1"}, "annotations": {"a": "1"}, "finalizers": ["x/y"]}
    live = manifest("a", spec={})
    same = {key: value for key, value in captured["metadata"].items() if key not in {"uid", "ownerReferences"}}
    live["metadata"] = {**same, "uid": "other", "resourceVersion": "99", "generation": 4, "creationTimestamp": "now", "managedFields": [{}]}
    live["metadata"]["ownerReferences"] = [{**captured["metadata"]["ownerReferences"][0], "uid": "new-b"}]
    uids = {"uid-b": "new-b"}
    assert differing(captured, live, uids) == []
    changed: dict[str, Any] = {
        "labels": {"a": "2"},
        "annotations": {"a": "1", "b": "2"},
        "finalizers": ["x/z"],
        "name": "other",
        "ownerReferences": [{**captured["metadata"]["ownerReferences"][0], "uid": "another"}],
    }
    if gone and field != "name":
        del live["metadata"][field]
    else:
        live["metadata"][field] = changed[field]
    assert differing(captured, live, uids) == [f"metadata.{field}"]
