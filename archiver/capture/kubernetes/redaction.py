"""What the settings keep out of the archive, of the objects of one stream: cut before anything of them is handed on. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from archiver.capture.kubernetes.discovery import Selector
from archiver.capture.kubernetes.field_cutter import Path, cut, cut_owned, rewrite, rewrite_elements
from archiver.capture.kubernetes.field_path import parse_field
from archiver.kubernetes.redaction_mark import APPLIED, APPLIED_PATH, EVERYTHING, REDACTED
from archiver.untrusted import Unreadable, has_more_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from archiver.kubernetes.json_fields import Meta
    from archiver.kubernetes.records import Resource

_ALWAYS: tuple[Path, ...] = ((("metadata", "annotations", APPLIED), APPLIED_PATH),)
_FORGED: Path = (("metadata", REDACTED), "")
MOST_VALUES = 200_000
"""Strings, brackets and commas of an object that is looked through: half a second at most. 1.5 MB of ordinary ones have some 170 000."""
MOST_BYTES = 16 << 20


class Redactor:
    """Cuts fields out of objects of one resource."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = (*paths, *_ALWAYS)
        self._cuts = (*self._paths, _FORGED)
        self.paths = [text for _, text in paths]
        """As the settings write them."""

    @classmethod
    def of(cls, lines: Sequence[str], resource: Resource) -> Redactor | None:
        """What ``lines`` of the settings mean for ``resource``; None: nothing. Raises ``Invalid`` for a line that names no field."""
        paths = []
        for line in lines:
            selector, text, parts = parse_field(line)
            if Selector.parse(selector).matches(resource.group, resource.plural):
                paths.append((parts, text))
        return cls(sorted(set(paths), key=lambda path: path[1])) if paths else None

    def object(self, body: bytes, meta: Meta) -> tuple[bytes, bool]:
        """An object, without what is cut and with the mark that says so; and whether it could be read at all. ``meta``: of it. What is
        beyond ``MOST_VALUES`` or ``MOST_BYTES`` could not.
        """
        if _too_much(body):
            return _stub(meta), False
        try:
            return self._cut(body), True
        except Unreadable:
            return _stub(meta), False

    def line(self, line: bytes, kind: str, meta: Meta) -> tuple[bytes, bool]:
        """The same of a watch line about one. ``kind``: its type."""
        if not _too_much(line):
            try:
                return rewrite(line, "object", self._cut), True
            except Unreadable:
                pass
        return b'{"type":' + msgspec.json.encode(kind) + b',"object":' + _stub(meta) + b"}", False

    def _cut(self, body: bytes) -> bytes:
        found: set[str] = set()
        left = rewrite(cut(body, self._cuts, found), "metadata", self._owned)
        found.discard("")
        if found:
            left = rewrite(left, "metadata", lambda metadata: _marked(metadata, sorted(found)))
        return left

    def _owned(self, metadata: bytes) -> bytes:
        def entry(each: bytes) -> bytes:
            return rewrite(each, "fieldsV1", lambda fields: cut_owned(fields, self._paths)) if each[:1] == b"{" else each

        return rewrite(metadata, "managedFields", lambda entries: rewrite_elements(entries, entry))


def _too_much(body: bytes) -> bool:
    return len(body) > MOST_BYTES or has_more_values(body, MOST_VALUES)


def _marked(metadata: bytes, paths: list[str]) -> bytes:
    mark = b'"%b":%b}' % (REDACTED.encode(), msgspec.json.encode(paths))
    begun = metadata.rstrip()[:-1].rstrip()
    return begun + (b"" if begun == b"{" else b",") + mark


def _stub(meta: Meta) -> bytes:
    named = {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid, "resourceVersion": meta.resource_version}
    return msgspec.json.encode({"metadata": {key: value for key, value in named.items() if value} | {REDACTED: [EVERYTHING]}})
