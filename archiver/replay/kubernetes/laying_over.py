"""A captured object laid over the one that lives, field by field, as server-side apply merges them. Pure.

How a list is merged is said by managedFields of either object, which the API server writes by the schema:

    items by "k:{…}"   keyed: an item that is in both is merged, one that only lives stays
    items by "v:…"     a set: values that only live stay
    no items below it  atomic, be it a list or a map: as it was captured
    not mentioned      a list as it was captured; a map field by field

    an item without its key, one key twice, keys that cannot be read -> as it was captured
    owners -> as they were captured: an object has one controller, and two lists of owners may have two
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from archiver.kubernetes import json_fields as kj
from archiver.replay.kubernetes import manifests
from archiver.replay.kubernetes.field_managers import fields_of, together
from archiver.replay.kubernetes.manifests import Manifest
from archiver.untrusted import Unreadable, UntrustedDecoder

_KEYED, _VALUE, _FIELD = "k:", "v:", "f:"
_KEY = UntrustedDecoder(dict[str, Any], most=kj.OBJECT_BYTES)
_METADATA = "f:metadata"
_WHOLE = "ownerReferences"

Name = Callable[[Any], bytes | None]


def laid_over(wanted: Manifest, captured: Manifest, there: Manifest, *, whole: bool = False) -> Manifest:
    """``wanted``, which is to be sent for ``captured``, laid over what is ``there``; without what the server sets. ``whole``: every list as
    it was captured.
    """
    known = fields_of(there)
    fields = together(known, fields_of(captured))
    fields = _of_maps(fields) if whole else fields
    if isinstance(metadata := fields.get(_METADATA), dict):
        # None of its maps is atomic: a manager may own labels and have set none.
        fields = {**fields, _METADATA: {name: below or None for name, below in metadata.items()}}
        known = {name: below for name, below in known.items() if name != _METADATA}
    found: Manifest = _merged(manifests.bare(there), wanted, fields or None, known)
    return found


def ways(wanted: Manifest, captured: Manifest, there: Manifest) -> Iterator[Manifest]:
    """What is sent one after the other as long as the target finds it wrong: merged, and where that is something else, every list as it was
    captured.
    """
    merged = laid_over(wanted, captured, there)
    yield merged
    whole = laid_over(wanted, captured, there, whole=True)
    if not kj.same(whole, merged):
        yield whole


def _merged(there: Any, wanted: Any, fields: Any, known: Any) -> Any:
    """``fields``: what managedFields have below this place; ``None`` where they do not mention it. ``known``: the living object's alone."""
    if not isinstance(fields, dict):
        fields = None
    if isinstance(there, dict) and isinstance(wanted, dict):
        # An atomic map. An empty one is only known for atomic where the living object says so: another may have set what is in it.
        if fields == {} and there and (wanted or known == {}):
            return wanted
        found = {**there, **wanted}
        for name, value in wanted.items():
            if name in there and name != _WHOLE:
                found[name] = _merged(there[name], value, _below(fields, f"{_FIELD}{name}"), _below(known, f"{_FIELD}{name}"))
        return found
    if isinstance(there, list) and isinstance(wanted, list) and fields:
        return _merged_lists(there, wanted, fields, known)
    return wanted


def _below(fields: Any, name: str) -> Any:
    return fields.get(name) if isinstance(fields, dict) else None


def _merged_lists(there: list[Any], wanted: list[Any], fields: dict[str, Any], known: Any) -> list[Any]:
    """The captured items in their order; after each, those that only live and stood behind it."""
    keys = _keys(fields)
    names = sorted(next(iter(keys.values()), {}))
    if not names and not any(field.startswith(_VALUE) for field in fields):
        return wanted
    name: Name = (lambda item: _key(item, names)) if names else _value
    below = {_key(key, names): (fields[field], _below(known, field)) for field, key in keys.items()}
    living, captured = _named(there, name), _named(wanted, name)
    if living is None or captured is None:
        return wanted
    behind: dict[bytes, list[Any]] = {}
    last = b""
    for key, item in living.items():
        if key in captured:
            last = key
        else:
            behind.setdefault(last, []).append(item)
    found = behind.get(b"", [])
    for key, item in captured.items():
        found.append(_merged(living[key], item, *below.get(key, (None, None))) if key in living else item)
        found += behind.get(key, [])
    return found


def _of_maps(fields: Any) -> Any:
    """``fields`` without what is said of items of lists."""
    if not isinstance(fields, dict):
        return fields
    return {name: _of_maps(below) for name, below in fields.items() if not name.startswith((_KEYED, _VALUE))}


def _keys(fields: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What ``fields`` has below it of items by key: each entry, and the names and values in it. Empty where one cannot be read."""
    found = {}
    for field in fields:
        if field.startswith(_KEYED):
            try:
                found[field] = _KEY.decode(field[len(_KEYED) :].encode())
            except (Unreadable, UnicodeError):
                return {}
    return found


def _key(item: Any, names: list[str]) -> bytes | None:
    if not isinstance(item, dict) or any(name not in item for name in names):
        return None
    return _value([item[name] for name in names])


def _value(item: Any) -> bytes:
    return msgspec.json.encode(item, order="deterministic")


def _named(items: list[Any], name: Name) -> dict[bytes, Any] | None:
    """Items by their names; ``None`` where one has none, or two have the same."""
    found = {}
    for item in items:
        key = name(item)
        if key is None or key in found:
            return None
        found[key] = item
    return found
