"""Where a stream's objects are."""

from __future__ import annotations

import pytest

from archiver.capture.kubernetes.stream_scope import StreamScope
from archiver.kubernetes.records import Resource


@pytest.mark.parametrize(
    ("group", "namespace", "path", "what"),
    [
        ("g.io", "", "/apis/g.io/v1/things", "resource things.g.io"),
        ("g.io", "a", "/apis/g.io/v1/namespaces/a/things", "resource things.g.io in namespace a"),
        ("", "", "/api/v1/things", "resource things"),
        ("", "a", "/api/v1/namespaces/a/things", "resource things in namespace a"),
    ],
)
def test_a_scope_knows_its_path_and_its_name(group: str, namespace: str, path: str, what: str) -> None:
    """Groups and the core group, one namespace and all."""
    scope = StreamScope.of("kube", Resource(group, "v1", "things", "Thing", namespaced=True), namespace)
    assert (scope.path, scope.what) == (path, what)
