"""Paths of fields as the settings write them: ``spec.token``, ``spec.env[*].value``, ``data.*``, ``metadata.annotations[a.b/c]``."""

from __future__ import annotations

import re

from archiver.errors import Invalid
from archiver.kubernetes.redaction_mark import ANY, Parts, parts_of

_FORM = re.compile(r"(?:[^.\[\]*]+|\*)(?:\.(?:[^.\[\]*]+|\*)|\[[^\[\]]+\])*")
_NEEDED = frozenset(("apiVersion", "kind"))
_CUT_IN_METADATA = frozenset(("annotations", "labels", "managedFields", "finalizers", "generateName"))
"""An object without the others is not known any more, or not by whom it is owned."""


def parse_field(line: str) -> tuple[str, str, Parts]:
    """The resource that ``line`` (``plural.group/path``) names, the path, and its parts. ``Invalid`` where it is none that can be cut."""
    resource, _, path = line.partition("/")
    parts = parts_of(path)
    if not resource or not _FORM.fullmatch(path):
        raise Invalid(
            f"{line!r} names no field of a resource",
            hint="write plural.group/path, like runs.example.com/spec.env[*].value; a name with dots stands in brackets: [a.b/c]",
        )
    if parts[0] in _NEEDED or parts[0] == ANY or (parts[0] == "metadata" and (len(parts) < 2 or parts[1] not in _CUT_IN_METADATA)):
        raise Invalid(
            f"{line!r} would cut what an object is known by",
            hint=f"of metadata only these can be cut: {', '.join(sorted(_CUT_IN_METADATA))}",
        )
    return resource, path, parts
