"""``--object`` texts -> objects by name. Pure."""

from __future__ import annotations

from archiver.errors import Invalid

_EXAMPLE = "write plural.group/namespace/name, for example agentruns.agents.proompteng.ai/agents/run-1"

ObjectName = tuple[str, str, str]
"""``plural.group`` or ``plural``, namespace (empty for cluster-scoped), name."""


def parse_object(text: str) -> ObjectName:
    """``plural.group/namespace/name``, or ``plural.group/name`` for what is cluster-scoped. Raises ``Invalid`` for any other form."""
    parts = text.split("/")
    if len(parts) not in (2, 3) or not all(parts):
        raise Invalid(f"{text!r} does not name an object", hint=_EXAMPLE)
    return parts[0], parts[1] if len(parts) == 3 else "", parts[-1]
