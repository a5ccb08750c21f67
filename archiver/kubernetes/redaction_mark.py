"""The mark of an object from which capture cut what the settings name.

It stands in ``metadata``, whose fields are the API server's own: it takes none there that it does not know, so nobody who writes objects
can forge it, and what is restored cannot carry it. Capture takes away what stands under its name in an object that it cuts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

REDACTED = "archiverRedacted"
"""The member of ``metadata``: the paths of the settings that met something in the object."""

EVERYTHING = "*"
"""In place of paths: the object could not be read, so that nothing but its name, uid and resourceVersion was kept."""

ANY = "*"
"""A part of a path that is every member of an object, or every element of a list."""
Parts = tuple[str, ...]
_PART = re.compile(r"\[([^\[\]]+)\]|([^.\[\]]+)")


def parts_of(path: str) -> Parts:
    """Of a path as the settings write it: ``spec.env[*].value``, ``metadata.annotations[a.b/c]``."""
    return tuple(inside or name for inside, name in _PART.findall(path))


APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
APPLIED_PATH = f"metadata.annotations[{APPLIED}]"
"""A copy of the whole object as text, which goes from every object of a kind that is redacted: without it alone an object is whole."""


def lacking_paths(manifest: Mapping[str, Any]) -> list[str]:
    """What a restore of a captured object would take away from a living one."""
    return [path for path in redacted_paths(manifest) if path != APPLIED_PATH]


def redacted_paths(manifest: Mapping[str, Any]) -> list[str]:
    """What was cut from a captured object."""
    metadata = manifest.get("metadata")
    found = metadata.get(REDACTED) if isinstance(metadata, dict) else None
    return [str(path) for path in found] if isinstance(found, list) else []
