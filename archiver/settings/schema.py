"""The JSON schema of the settings file, from the model itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from archiver.settings import model


def json_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of the settings file, with the model's own descriptions."""
    schema = msgspec.json.schema(model.Settings)
    comments = descriptions()
    for name, definition in schema.get("$defs", {}).items():
        for key, prop in definition.get("properties", {}).items():
            text = comments.get((name, key))
            if text and "$ref" not in prop:
                prop.setdefault("description", text)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "archiver settings", **schema}


def descriptions() -> dict[tuple[str, str], str]:
    """(struct, field) -> the text written under the field in ``model.py``."""
    found: dict[tuple[str, str], str] = {}
    struct = field = ""
    source = Path(model.__file__).read_text(encoding="utf-8")
    pattern = re.compile(r'^class (\w+)\(|^    (\w+): |^    """(.*?)"""$', re.MULTILINE | re.DOTALL)
    for match in pattern.finditer(source):
        if match.group(1):
            struct, field = match.group(1), ""
        elif match.group(2):
            field = match.group(2)
        elif match.group(3) and field:
            found[struct, field] = " ".join(match.group(3).split())
    return found
