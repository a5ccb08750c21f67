"""Names in paths of an API server."""

from __future__ import annotations

import pytest
from yarl import URL

from archiver.kubernetes import url_paths
from archiver.kubernetes.records import Resource


@pytest.mark.parametrize("name", ["a/b", "a/../../secrets", "..", ".", "a?limit=1", "a#b", "a%2Fb", "%2e%2e", "system:node", "a b"])
def test_a_name_stays_one_segment(name: str) -> None:
    """Whoever wrote it: as the HTTP client sends it, the path has what stands around the name, and one segment in its place."""
    resource = Resource("g.example.org", "v1", "things", "Thing", True)
    for path, around in (
        (url_paths.collection(resource, name), "/apis/g.example.org/v1/namespaces/{}/things"),
        (url_paths.collection(Resource("", "v1", name, "Thing", False)), "/api/v1/{}"),
        (url_paths.member(url_paths.collection(resource, "n"), name), "/apis/g.example.org/v1/namespaces/n/things/{}"),
        (url_paths.namespace(name), "/api/v1/namespaces/{}"),
        (url_paths.group_version(name, "v1"), "/apis/{}/v1"),
    ):
        sent = URL(f"https://server{path}")
        before, after = around.split("{}")
        assert sent.raw_path.startswith(before), sent
        assert sent.raw_path.endswith(after), sent
        inside = sent.raw_path[len(before) : len(sent.raw_path) - len(after)]
        assert "/" not in inside, sent
        assert inside
        assert (sent.query_string, sent.fragment) == ("", "")
