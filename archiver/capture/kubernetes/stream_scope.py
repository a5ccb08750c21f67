"""What one stream captures: a resource in a scope."""

from __future__ import annotations

import msgspec

from archiver.kubernetes.records import Resource
from archiver.kubernetes.stream_name import StreamName
from archiver.kubernetes.url_paths import collection


class StreamScope(msgspec.Struct, frozen=True):
    """What one stream captures."""

    stream: str
    """Journal source: ``cluster/group/plural`` or ``cluster/group/plural@namespace``."""
    resource: Resource
    namespace: str = ""
    """Empty: all namespaces, or a cluster-scoped resource."""

    @classmethod
    def of(cls, source: str, resource: Resource, namespace: str = "") -> StreamScope:
        """The stream of ``resource`` in ``namespace`` (empty: all) of the source named ``source``."""
        return cls(str(StreamName(source, resource.group, resource.plural, namespace)), resource, namespace)

    @property
    def what(self) -> str:
        """For people and for gaps."""
        name = f"{self.resource.plural}.{self.resource.group}" if self.resource.group else self.resource.plural
        return f"resource {name}" + (f" in namespace {self.namespace}" if self.namespace else "")

    @property
    def path(self) -> str:
        """URL path of the collection."""
        return collection(self.resource, self.namespace)
