"""Names of streams."""

from __future__ import annotations

import pytest

from archiver.kubernetes.stream_name import StreamName


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("kube/g.io/things", StreamName("kube", "g.io", "things")),
        ("kube/g.io/things@a", StreamName("kube", "g.io", "things", "a")),
        ("kube/core/configmaps@a", StreamName("kube", "", "configmaps", "a")),
    ],
)
def test_a_name_says_source_resource_and_namespace(text: str, name: StreamName) -> None:
    """And is written as it was read; the core group has no name of its own."""
    assert StreamName.parse(text) == name
    assert str(name) == text
    assert (name.resource.group, name.resource.plural) == (name.group, name.plural)
