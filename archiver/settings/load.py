"""File and environment -> ``Settings``. The environment wins over the file, key by key.

``ARCHIVER_ARCHIVE__SEGMENT_BYTES=1048576`` sets ``archive.segment_bytes``: the prefix ``ARCHIVER_``, then the path in capitals with ``__``
between levels. A source's name is lowered and its ``_`` become ``-``: ``ARCHIVER_SOURCES__AGENTS_DB__POSTGRES__DSN`` sets
``sources.agents-db.postgres.dsn``. Lists are JSON, or text with commas.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import msgspec

from archiver.errors import Invalid
from archiver.pages import page
from archiver.settings.model import Settings
from archiver.settings.rules import check
from archiver.suggestions import meant
from archiver.untrusted import Unreadable, decode_untrusted

PREFIX = "ARCHIVER_"
RESERVED = frozenset({"ARCHIVER_CONFIG", "ARCHIVER_CACHE"})
"""Variables with the prefix that are not settings."""

_SERVICE_LINK = re.compile(r"ARCHIVER_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")
"""What Kubernetes puts into every pod beside a Service called archiver (enableServiceLinks)."""

_LONGEST = 1 << 20
"""Bytes of a variable that are read as JSON."""


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Settings from ``path`` (none: defaults) with ``environ`` laid over them.

    Raises ``Invalid`` that names the key or variable, what was found and what is allowed.
    """
    return parse(overlay(_read(path) if path else {}, environ), str(path) if path else "settings")


def _read(path: Path) -> dict[str, Any]:
    from archiver.settings.file import read_file  # YAML takes longer to load than all else here

    return read_file(path)


def parse(data: Mapping[str, Any], origin: str) -> Settings:
    """``Settings`` from plain data; ``origin`` is named in errors."""
    try:
        settings = msgspec.convert(data, Settings)
    except msgspec.ValidationError as error:
        raise Invalid(f"{origin}: {_explain(str(error), data)}", hint=_hint(str(error))) from None
    check(settings, origin)
    return settings


def overlay(data: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """``data`` with every ``ARCHIVER_…`` variable laid over it; ``data`` itself is left as it is."""
    result = _copy(data)
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in RESERVED or _SERVICE_LINK.fullmatch(variable):
            continue
        path, kind = _locate(variable)
        value = _value(variable, environ[variable], kind)
        node = result
        for level in path[:-1]:
            below = node.get(level)
            if not isinstance(below, dict):
                below = node[level] = {}
            node = below
        node[path[-1]] = value
    return result


def _locate(variable: str) -> tuple[list[str], Any]:
    """Path of the setting that ``variable`` names, and its type."""
    kind: Any = Settings
    path: list[str] = []
    for level in variable.removeprefix(PREFIX).split("__"):
        kind = _bare(kind)
        if get_origin(kind) is dict:
            path.append(level.lower().replace("_", "-"))
            kind = get_args(kind)[1]
            continue
        fields = {field.name: field.type for field in msgspec.structs.fields(kind)} if _is_struct(kind) else {}
        if level.lower() not in fields:
            inside = ".".join(path) or "the top level"
            allowed = ", ".join(fields) or "no keys"
            raise Invalid(
                f"environment variable {variable}: no setting {level.lower()!r} in {inside}",
                hint=f"{_meant(level.lower(), fields)}allowed there: {allowed}",
            )
        path.append(level.lower())
        kind = fields[level.lower()]
    if _is_struct(_bare(kind)):
        raise Invalid(
            f"environment variable {variable} names a group of settings, not one", hint=f"append __ and one of: {_keys(_bare(kind))}"
        )
    return path, kind


def _value(variable: str, text: str, kind: Any) -> Any:
    plain: Any = text
    if not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text):
        raise Invalid(f"environment variable {variable} is not UTF-8 text", hint="set it to UTF-8 text")
    if get_origin(_bare(kind)) is list and not text.startswith("["):
        plain = [part.strip() for part in text.split(",") if part.strip()]
    elif get_origin(_bare(kind)) is list:
        try:
            plain = decode_untrusted(text.encode(), list, most=_LONGEST)
        except Unreadable:
            raise Invalid(f"environment variable {variable} is not JSON", hint='write lists as ["a", "b"] or a,b') from None
    try:
        return msgspec.to_builtins(msgspec.convert(plain, kind, strict=False))
    except msgspec.ValidationError as error:
        raise Invalid(f"environment variable {variable}: {str(error).lower()}", hint=f"see {page('reference/settings.md')}") from None


def _bare(kind: Any) -> Any:
    """``kind`` without ``| None`` and without ``Annotated``."""
    if get_origin(kind) is UnionType or isinstance(kind, UnionType):
        kind = next(part for part in get_args(kind) if part is not NoneType)
    return get_args(kind)[0] if hasattr(kind, "__metadata__") else kind


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _keys(kind: Any) -> str:
    return ", ".join(field.name for field in msgspec.structs.fields(kind))


def _copy(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, dict) else value for key, value in data.items()}


def _at(message: str) -> list[str]:
    match = re.search(r"at `\$\.?(.*)`", message)
    return [level for level in match.group(1).replace("[...]", ".*").split(".") if level] if match else []


def _explain(message: str, data: Any) -> str:
    """The message of msgspec with the path in front and the value found (types only below ``dsn`` and secrets)."""
    path = _at(message)
    text = re.sub(r" - at `.*`$", "", message)
    text = text[0].lower() + text[1:]
    found = _lookup(data, path)
    shown = f", found {found!r}" if isinstance(found, (int, float, bool)) or (isinstance(found, str) and _harmless(path)) else ""
    return f"{'.'.join(path) or 'top level'}: {text}{shown}"


def _harmless(path: list[str]) -> bool:
    return not {"dsn", "password", "access_key", "secret_key"} & set(path)


def _lookup(data: Any, path: list[str]) -> Any:
    for level in path:
        if not isinstance(data, dict) or level not in data:
            return None
        data = data[level]
    return data


def _hint(message: str) -> str:
    unknown = re.search(r"unknown field `(.*?)`", message)
    if not unknown:
        return f"see {page('reference/settings.md')}, or `archiver config schema`"
    kind: Any = Settings
    for level in _at(message):
        kind = _bare(kind)
        kind = get_args(kind)[1] if get_origin(kind) is dict else next(f.type for f in msgspec.structs.fields(kind) if f.name == level)
    names = [field.name for field in msgspec.structs.fields(_bare(kind))]
    return f"{_meant(unknown.group(1), names)}allowed there: {', '.join(names)}"


def _meant(wrong: str, names: Iterable[str]) -> str:
    """The nearest of ``names``, else the only place in all settings where ``wrong`` is one."""
    near = meant(wrong, names)
    places = [] if near else list(_places(Settings, (), wrong))
    return f"did you mean {places[0]}? " if len(places) == 1 else near


def _places(kind: Any, path: tuple[str, ...], name: str) -> Iterator[str]:
    kind = _bare(kind)
    if get_origin(kind) is dict:
        yield from _places(get_args(kind)[1], (*path, "NAME"), name)
    elif _is_struct(kind):
        for field in msgspec.structs.fields(kind):
            if field.name == name:
                yield ".".join((*path, name))
            yield from _places(field.type, (*path, field.name), name)
