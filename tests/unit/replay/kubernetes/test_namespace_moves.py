"""Objects that are put into another namespace."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from archiver.errors import Invalid
from archiver.kubernetes.records import Resource
from archiver.replay.kubernetes.namespace_moves import moved, parse_moves

RESOURCES = {"runs.g.io": Resource("g.io", "v1", "runs", "Run", True), "zones.g.io": Resource("g.io", "v1", "zones", "Zone", False)}


def owner(kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "g.io/v1", "kind": kind, "name": name, "uid": f"uid-{name}"}


def test_owners_come_along_or_are_left_out() -> None:
    """A reference into another namespace would have the object collected; cluster-scoped owners are the same ones."""
    references = [owner("Run", "along"), owner("Run", "behind"), owner("Zone", "z"), owner("Other", "unknown")]
    manifest: dict[str, Any] = {"metadata": {"name": "r", "namespace": "old", "uid": "u", "ownerReferences": references}, "spec": {"x": 1}}
    found = moved(manifest, "new", frozenset({"uid-along"}), RESOURCES)
    assert found.manifest == {
        "metadata": {"name": "r", "namespace": "new", "uid": "u", "ownerReferences": [references[0], references[2]]},
        "spec": {"x": 1},
    }
    assert found.lost == ["Run/behind", "Other/unknown"]
    assert manifest["metadata"]["namespace"] == "old"


def test_what_names_the_old_namespace_is_listed_and_stays() -> None:
    """As a word of its own, in texts and keys at any depth; not where the object's kind or name holds it by chance."""
    manifest: dict[str, Any] = {
        "apiVersion": "old.io/v1",
        "kind": "old",
        "metadata": {
            "name": "old",
            "namespace": "old",
            "labels": {"team": "old"},
            "annotations": {"x": "older, bold, an-old, old-er"},
            "managedFields": [{"manager": "old"}],
        },
        "spec": {"url": "http://svc.old.svc", "names": {"deep": [{"old": 1}]}, "plain": "other", "raw": msgspec.Raw(b'["old"]')},
        "status": "old",
    }
    found = moved(manifest, "new", frozenset(), RESOURCES)
    assert sorted(found.naming) == ["metadata.labels", "spec.names", "spec.raw", "spec.url", "status"]
    assert found.manifest == {**manifest, "metadata": {**manifest["metadata"], "namespace": "new"}}


def test_the_forms() -> None:
    """OLD=NEW, each of them once, and never two namespaces into one."""
    assert parse_moves(["a=b", "c=d"], frozenset()) == {"a": "b", "c": "d"}
    assert parse_moves(["a=b"], frozenset({"a", "c"})) == {"a": "b"}
    for texts, others, told in [
        (["a"], [], "is not OLD=NEW"),
        (["a=a"], [], "is not OLD=NEW"),
        (["a=B"], [], "is not OLD=NEW"),
        (["a=b", "a=c"], [], "names a twice"),
        (["a=b"], ["c"], "leaves it out"),
        (["a=b"], ["a", "b"], "would meet in b"),
        (["a=b", "b=a"], [], "would meet in"),
        (["a=c", "b=c"], [], "would meet in c"),
    ]:
        with pytest.raises(Invalid, match=told):
            parse_moves(texts, frozenset(others))
