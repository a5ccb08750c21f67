"""Whether a target is the captured cluster, as far as can be known."""

from __future__ import annotations

import msgspec
import pytest

from archiver.journal.entry import Kind, Run
from archiver.journal.reader import Reader
from archiver.kubernetes.captured_clusters import CapturedCluster, named_clusters
from archiver.kubernetes.cluster import Cluster
from archiver.kubernetes.records import Resource, Watch
from archiver.replay.kubernetes.restore import _own_source
from tests.unit.journal.forge import Forgery


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
    """UID before CA before address; what cannot be told is refused."""
    found = _own_source([CapturedCluster("kube", captured, "https://x", now=True)], target, url)
    assert [word in line for line in found] == ([True] if word else [])


def test_an_older_cluster_of_the_source_counts_too_and_the_surest_reason_is_told() -> None:
    """Where the source's cluster was replaced once, neither is a target."""
    captured = [CapturedCluster("kube", text, "https://x", now=True) for text in ("ca= uid=", "ca=new uid=new", "ca=old uid=old")]
    assert "itself, now or once" in _own_source(captured, Cluster("old", "old"), "https://other")[0]


def watch(cluster: str, epoch: int, *, stream: str = "kube/g.io/runs@n") -> Run:
    made = Watch(cluster, f"https://{cluster}", Resource("g.io", "v1", "runs", "Run", True), "n", epoch, "", "start")
    return Run.of(stream, Kind.K8S_WATCH, [msgspec.json.encode(made)], observed=5)


@pytest.mark.parametrize("each_segment", [1, 2, 3])
async def test_every_cluster_of_the_journal_is_known_however_it_was_cut(each_segment: int) -> None:
    """Replaced twice, of several sources and streams; only the last of each is captured now."""
    made = Forgery()
    made.open()
    watches = [watch("a", 0), watch("a", 0), watch("b", 1), watch("b", 1), watch("b", 2), watch("c", 3), watch("c", 3)]
    for start in range(0, len(watches), each_segment):
        made.add(*watches[start : start + each_segment])
    made.add(watch("d", 0, stream="other/g.io/runs@n"))
    found = {(each.source, each.identity, each.server) for each in await named_clusters(Reader(made.store))}
    assert found == {("kube", name, f"https://{name}") for name in "abc"} | {("other", "d", "https://d")}
    now = {(each.source, each.identity) for each in await named_clusters(Reader(made.store)) if each.now}
    assert now == {("kube", "c"), ("other", "d")}
