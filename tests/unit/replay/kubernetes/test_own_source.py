"""Whether a target is the captured cluster, as far as can be known."""

from __future__ import annotations

import pytest

from archiver.kubernetes.cluster import Cluster
from archiver.replay.kubernetes.restore import _own_source
from tests.unit.replay.kubernetes.objects import manifest, selection


@pytest.mark.parametrize(
    ("captured", "target", "url", "word"),
    [
        ("ca=a uid=u", Cluster("a", "u"), "https://x", "captured cluster itself"),
        ("ca=a uid=u", Cluster("b", "u"), "https://other", "captured cluster itself"),
        ("ca=a uid=u", Cluster("a", "v"), "https://other", ""),
        ("ca=a uid=u", Cluster("a", "v"), "https://x", ""),
        ("ca=a uid=u", Cluster("a", ""), "https://other", "certificate authority"),
        ("ca=a uid=", Cluster("a", "v"), "https://other", "certificate authority"),
        ("ca=a uid=u", Cluster("b", ""), "https://other", ""),
        ("ca=a uid=u", Cluster("b", ""), "https://x", "address"),
        ("ca= uid=", Cluster("b", "v"), "https://other", "cannot be told"),
        ("ca=a uid=u", Cluster("", ""), "https://other", "cannot be told"),
    ],
)
def test_the_captured_cluster_is_known_by_what_both_sides_know(captured: str, target: Cluster, url: str, word: str) -> None:
    """UID before CA before address; what cannot be told is refused; ``--into-source`` takes everything."""
    chosen = selection(manifest("a"))
    chosen.clusters = [captured]
    found = _own_source(chosen, target, url, into_source=False)
    assert [word in line for line in found] == ([True] if word else [])
    assert _own_source(chosen, target, url, into_source=True) == []


def test_an_older_cluster_of_the_source_counts_too() -> None:
    """Where the source's cluster was replaced once, neither is a target."""
    chosen = selection(manifest("a"))
    chosen.clusters = ["ca=new uid=new", "ca=old uid=old"]
    assert _own_source(chosen, Cluster("old", "old"), "https://other", into_source=False)
