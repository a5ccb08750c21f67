"""Names of Kubernetes streams in the journal: ``source/group/plural``, or with ``@namespace``; the core group is ``core``."""

from __future__ import annotations

import msgspec

from archiver.kubernetes.records import Resource


class StreamName(msgspec.Struct, frozen=True):
    """What a stream's name says of it."""

    source: str
    group: str
    plural: str
    namespace: str = ""
    """Empty: all namespaces, or a cluster-scoped resource."""

    @classmethod
    def parse(cls, text: str) -> StreamName:
        """``text`` is the name of a stream of the journal."""
        source, _, rest = text.partition("/")
        group, _, scoped = rest.partition("/")
        plural, _, namespace = scoped.partition("@")
        return cls(source, "" if group == "core" else group, plural, namespace)

    def __str__(self) -> str:
        scope = f"@{self.namespace}" if self.namespace else ""
        return f"{self.source}/{self.group or 'core'}/{self.plural}{scope}"

    @property
    def resource(self) -> Resource:
        """The resource as far as a name tells: version and kind are not known."""
        return Resource(self.group, "", self.plural, "", namespaced=True)
