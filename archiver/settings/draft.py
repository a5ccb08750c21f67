"""A settings file for people to go on with, from what a database and a cluster said of themselves. Pure.

What sources say of themselves stands in comments alone, on one line each; values are quoted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from archiver.pages import page
from archiver.terminal import visible, visible_yaml

_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
"""What is no text in YAML."""


class SourceDraft(msgspec.Struct, kw_only=True):
    """One source as it will stand in the file."""

    wish: str
    """What its name is made from: a database's, a context's."""
    kind: str
    """``postgres`` or ``kubernetes``."""
    about: str
    """What it is, in a comment beside its name."""
    values: dict[str, str | list[str]]
    """Settings below its kind, in order."""
    notes: dict[str, list[str]] = {}
    """Setting -> comments above it; under the empty name those behind all."""


def draft(url: str, sources: Sequence[SourceDraft]) -> str:
    """The file's text. Every line of it that is no comment is a setting that is in force."""
    lines = [
        "# Settings of the archiver, as `archiver init` found things. Secrets are named here, never written: env:NAME or file:PATH.",
        f"# All settings: {page('reference/settings.md')}",
        "# Next: `archiver check`, which names what is missing with its remedy, then `archiver run`.",
        "",
        "archive:",
        "  # Where the journal is: file:///path, or s3://bucket/prefix.",
        f"  url: {_quoted(url)}",
    ]
    if url.startswith("s3:"):
        lines += [
            "  # Credentials come from the usual AWS chain, or from here:",
            "  # s3: {endpoint: https://s3.example.com, access_key: env:S3_ACCESS_KEY, secret_key: env:S3_SECRET_KEY}",
        ]
    lines += ["", "sources:"]
    for name, source in zip(names([each.wish for each in sources]), sources, strict=True):
        lines += [f"  {_key(name)}: # {visible(source.about)}", f"    {source.kind}:"]
        for key, value in source.values.items():
            lines += _comments(source.notes, key)
            several = [] if isinstance(value, str) else [f"        - {_quoted(each)}" for each in value]
            lines += [f"      {key}: {_quoted(value)}" if isinstance(value, str) else f"      {key}:", *several]
        lines += _comments(source.notes, "")
    lines += [
        "",
        "web:",
        "  # Probes, status, metrics; `archiver mark` and `archiver status` ask here. Empty: off.",
        '  listen: "127.0.0.1:8080"',
    ]
    return "\n".join(lines) + "\n"


def names(wishes: Sequence[str]) -> list[str]:
    """A name for each source: allowed, and no two the same."""
    found: list[str] = []
    for wish in wishes:
        base = re.sub(r"[^a-z0-9]+", "-", wish.lower()).strip("-")[:50].strip("-") or "source"
        numbered = (f"{base}-{number}" for number in range(2, len(wishes) + 2))
        found.append(base if base not in found else next(each for each in numbered if each not in found))
    return found


def _key(name: str) -> str:
    """A name that YAML takes for text and nothing else."""
    return name if name[0].isalpha() and name not in _WORDS else _quoted(name)


def _comments(notes: Mapping[str, list[str]], key: str) -> list[str]:
    return [f"      # {visible(text)}" for text in notes.get(key, ())]


def _quoted(text: str) -> str:
    """A string that YAML reads back, whatever is in it."""
    return visible_yaml(msgspec.json.encode(text).decode())
