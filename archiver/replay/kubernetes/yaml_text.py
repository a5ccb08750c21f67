"""JSON values -> YAML that every reader understands alike.

YAML 1.1 and 1.2, PyYAML and Go read bare words differently: ``1e3`` is text to one and a number to the other, ``y`` a boolean, ``1:30``
a number. So only words that nobody can mistake stand bare; every other text is quoted, or a literal block when it is plain lines. What a
terminal would obey stands as its escape.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import yaml

from archiver.terminal import HIDDEN, visible_json, visible_yaml

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9./_-]*")
_TAKEN = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf", "infinity"))
_LINES = re.compile(r"[!-~\u00a1-\u1fff][ -~\u00a1-\u1fff]*(\n([!-~\u00a1-\u1fff][ -~\u00a1-\u1fff]*)?)+")


class Slow(yaml.SafeDumper):
    """PyYAML's own emitter, for where libyaml is not there."""

    def ignore_aliases(self, _data: Any) -> bool:
        """Everything is written where it stands."""
        return True


class Fast(yaml.CSafeDumper if yaml.__with_libyaml__ else yaml.SafeDumper):  # type: ignore[misc]
    """libyaml's emitter under the same rules, several times as fast."""

    def ignore_aliases(self, _data: Any) -> bool:
        """Everything is written where it stands."""
        return True


def _text(dumper: Any, text: str) -> yaml.ScalarNode:
    if _WORD.fullmatch(text) and text.lower() not in _TAKEN:
        style = None
    elif _LINES.fullmatch(text) and not HIDDEN.search(text.replace("\n", "")):
        style = "|"
    else:
        style = '"'
    node: yaml.ScalarNode = dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)
    return node


class _TooDeep(Exception):
    """The document holds a value that nests too deeply to be written as YAML."""


def _deep(_dumper: Any, _value: msgspec.Raw) -> yaml.ScalarNode:
    raise _TooDeep


for _dumper in (Slow, Fast):
    _dumper.add_representer(str, _text)
    _dumper.add_representer(msgspec.Raw, _deep)


def to_yaml(document: dict[str, Any], dumper: type[Slow | Fast] = Fast) -> str:
    """``document`` as one YAML document, keys in their order; as JSON, which is YAML too, where it nests very deeply."""
    try:
        text: str = yaml.dump(document, Dumper=dumper, sort_keys=False, allow_unicode=True, width=140)
    except _TooDeep:
        return visible_json(msgspec.json.encode(document).decode()) + "\n"
    return visible_yaml(text)
