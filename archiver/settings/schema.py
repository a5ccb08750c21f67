"""The JSON schema of the settings file, from the model itself."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from archiver.settings import model

_FIELD_OR_TEXT = re.compile(r'^    (\w+): |^    """(.*?)"""$', re.MULTILINE | re.DOTALL)


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
    """(struct, field) -> the text written under the field, in ``model.py`` or in the options that the struct inherits."""
    found: dict[tuple[str, str], str] = {}
    for name, struct in vars(model).items():
        if inspect.isclass(struct) and issubclass(struct, msgspec.Struct):
            for owner in reversed(struct.__mro__[: struct.__mro__.index(msgspec.Struct)]):
                found |= {(name, field): text for field, text in _texts(owner)}
    return found


def _texts(struct: type) -> Iterator[tuple[str, str]]:
    """Each field that ``struct`` itself declares, with the text under it."""
    field = ""
    for match in _FIELD_OR_TEXT.finditer(inspect.getsource(struct)):
        if match.group(1):
            field = match.group(1)
        elif field:
            yield field, " ".join(match.group(2).split())
