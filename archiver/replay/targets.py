"""``--to`` texts -> where each source goes. Pure: nothing is opened here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from posixpath import normpath
from typing import Literal

import msgspec

from archiver.errors import Invalid
from archiver.suggestions import meant

TargetKind = Literal["database", "cluster", "folder"]


class Target(msgspec.Struct, frozen=True):
    """Where one source is restored to."""

    source: str
    kind: TargetKind
    value: str
    """DSN, kubeconfig path with an optional ``#CONTEXT``, or folder."""

    @property
    def shown(self) -> str:
        """For people and logs: a DSN without its password."""
        return _without_password(self.value) if self.kind == "database" else self.value


def match(texts: Sequence[str], kinds: Mapping[str, str], wanted: Sequence[str]) -> list[Target]:
    """One target for each source that fits, in the archive's order.

    ``kinds`` names every source of the archive and its kind; ``wanted`` limits them. A text without ``SOURCE=`` fits all sources of its
    kind (a folder fits all; each source gets a subfolder when there are several). Raises ``Invalid`` when a text fits nothing or is no
    target at all, when two sources would share one database or folder, or when a source gets two targets.
    """
    unknown = [name for name in wanted if name not in kinds]
    if unknown:
        hint = f"{meant(unknown[0], kinds)}its sources: {', '.join(kinds) or 'none'}"
        raise Invalid(f"the archive has no source {unknown[0]!r}", hint=hint)
    chosen = [name for name in kinds if not wanted or name in wanted]
    found: dict[str, Target] = {}
    for text in texts:
        named, value = _named(text, kinds)
        kind = _kind(text, value, kinds)
        fits = [name for name in ([named] if named else chosen) if name in chosen and _fits(kind, kinds[name])]
        if not fits:
            raise Invalid(
                f"--to {_without_password(text)}: no source of the archive fits",
                hint=f"its sources: {', '.join(f'{name} ({kinds[name]})' for name in chosen)}",
            )
        if kind == "database" and len(fits) > 1:
            raise Invalid(
                f"--to {_without_password(text)} fits several databases: {', '.join(fits)}",
                hint=f"give each its own: --to {fits[0]}=postgresql://…",
            )
        for name in fits:
            if name in found:
                raise Invalid(f"source {name} has two targets", hint="give one --to for each source")
            several = kind == "folder" and not named and len(chosen) > 1
            target = Target(name, kind, str(Path(value) / name) if several else value)
            shared = next((each for each in found.values() if kind != "cluster" and _same_place(each, target)), None)
            if shared is not None:
                raise Invalid(f"sources {shared.source} and {name} have the same target {target.shown}", hint="give each its own")
            found[name] = target
    return [found[name] for name in chosen if name in found]


def _same_place(one: Target, other: Target) -> bool:
    if one.kind == other.kind == "folder":
        return normpath(one.value) == normpath(other.value)
    return one.value == other.value


def _named(text: str, kinds: Mapping[str, str]) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    return (name, value) if sign and name in kinds else ("", text)


def _kind(text: str, value: str, kinds: Mapping[str, str]) -> TargetKind:
    if value.startswith("kubeconfig:"):
        return "cluster"
    if value.startswith(("postgres://", "postgresql://")) or "dbname=" in value or "host=" in value or "service=" in value:
        return "database"
    # Rather a question than a folder of a strange name somewhere.
    if not value or "://" in value or "kubeconfig:" in value or re.match(r"[a-z0-9-]+=", value):
        named, sign, _ = text.partition("=")
        near = meant(named, kinds) if sign else ""
        raise Invalid(
            f"--to {_without_password(text)}: neither a target nor a source of the archive with one",
            hint=f"{near}[SOURCE=]postgresql://…, [SOURCE=]kubeconfig:PATH or [SOURCE=]./FOLDER; sources: {', '.join(kinds) or 'none'}",
        )
    return "folder"


def names_database(text: str) -> bool:
    """Whether a ``--to`` text, with or without its source, may have a connection string."""
    return any(word in text for word in ("postgres://", "postgresql://", "dbname=", "host=", "service="))


def _fits(kind: TargetKind, source: str) -> bool:
    return kind == "folder" or (kind == "database") == (source == "postgres")


def _without_password(text: str) -> str:
    """``text`` with what may be a password taken out, whether URI or keyword form."""
    text = re.sub(r"(://[^:@/?]*):[^/?]*@", r"\1@", text)
    return re.sub(r"(password\s*=\s*)('(?:[^'\\]|\\.)*'|\S+)", r"\1***", text)
