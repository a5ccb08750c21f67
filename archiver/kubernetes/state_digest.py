"""A digest of which objects there are, and in which versions. Pure. It is stored: ``docs/reference/format.md`` says how it is made."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

Identified = tuple[tuple[str, str], tuple[str, str]]
"""Namespace and name; uid and resourceVersion."""


def state_digest(objects: Iterable[Identified]) -> str:
    """Hex SHA-256 of a line for each object, in the order of namespace and name: a JSON array of namespace, name, uid and resourceVersion.

    Contents are not in it: an API server changes the resourceVersion with every change of an object.
    """
    digest = hashlib.sha256()
    encode = msgspec.json.Encoder().encode
    for (namespace, name), (uid, version) in sorted(objects):
        digest.update(encode((namespace, name, uid, version)))
        digest.update(b"\n")
    return digest.hexdigest()
