"""The settings file -> plain data. A key that stands twice is an error: YAML's reader would silently drop the first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from archiver.errors import Invalid

MOST_BYTES = 4 << 20
"""YAML is read at some hundred kilobytes a second, and a device has no end."""


def read_file(path: Path) -> dict[str, Any]:
    """What stands in ``path``; nothing for an empty file. Raises ``Invalid`` that names the file and the line."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise Invalid(f"settings file {path} is larger than {MOST_BYTES >> 20} MiB", hint="name the settings with --config")
        text = content.decode("utf-8")
    except OSError as error:
        raise Invalid(f"cannot read settings file {path}: {error.strerror}", hint="name a readable file with --config") from None
    except UnicodeDecodeError:
        raise Invalid(f"settings file {path} is not UTF-8 text", hint="save it as UTF-8") from None
    try:
        data = yaml.load(text, _Loader)  # noqa: S506 -- a SafeLoader, stricter
    except _TwiceError as error:
        raise Invalid(
            f"settings file {path} has the key {error.key!r} twice: at line {error.first} and at line {error.second}",
            hint="put what belongs to it in one place",
        ) from None
    except yaml.MarkedYAMLError as error:
        where = f" at line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise Invalid(f"settings file {path} is not YAML{where}: {error.problem}", hint="check indentation and quotes there") from None
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError):
        # The library reads what a tag such as ``!!int`` calls a number as if it were one.
        raise Invalid(
            f"settings file {path} is not YAML", hint="check it for characters, dates and numbers that YAML does not allow"
        ) from None
    except RecursionError:
        raise Invalid(f"settings file {path} nests too deeply", hint="start with `archive:` or `sources:`") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise Invalid(
            f"settings file {path} holds a {type(data).__name__}, not keys and values", hint="start with `archive:` or `sources:`"
        )
    return data


class _TwiceError(Exception):
    def __init__(self, key: str, first: int, second: int) -> None:
        super().__init__(key)
        self.key, self.first, self.second = key, first, second


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # Here a `<<` is not merged yet: what it brings may well be replaced.
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                if key.value in seen:
                    raise _TwiceError(key.value, seen[key.value], line)
                seen[key.value] = line
        return node
