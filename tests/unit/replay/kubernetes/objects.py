"""Objects of a namespace, and graphs of who owns whom."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from archiver.kubernetes.records import Resource
from archiver.replay.kubernetes.manifests import Manifest
from archiver.replay.kubernetes.selection import Key, Objects, Selection

RUNS = "runs.g.io"


def manifest(name: str, *owned_by: str, **parts: Any) -> Manifest:
    references = [{"apiVersion": "g.io/v1", "kind": "Run", "name": uid, "uid": f"uid-{uid}"} for uid in owned_by]
    metadata = {"name": name, "namespace": "n", "uid": f"uid-{name}", "resourceVersion": "7", "ownerReferences": references}
    return {"apiVersion": "g.io/v1", "kind": "Run", "metadata": metadata, **parts}


def selection(*objects: Manifest) -> Selection:
    by_key: dict[Key, Manifest] = {(RUNS, "n", each["metadata"]["name"]): each for each in objects}
    resources = {RUNS: Resource("g.io", "v1", "runs", "Run", True)}
    return Selection(Objects(by_key), resources, ["ca=a uid=u"], ["https://x"], 9, 9, [])


forests = st.dictionaries(st.integers(0, 30), st.lists(st.integers(0, 40), max_size=3), max_size=25).map(
    lambda found: {str(one): [str(each) for each in above] for one, above in found.items()}
)


def reachable(owned: dict[str, list[str]], start: str) -> set[str]:
    """Everything above ``start``."""
    seen: set[str] = set()
    waiting = list(owned.get(start, []))
    while waiting:
        one = waiting.pop()
        if one not in seen:
            seen.add(one)
            waiting += owned.get(one, [])
    return seen
