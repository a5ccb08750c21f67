"""Folders of YAML as states of a cluster: what each holds, what is new, what is gone. Pure but for reading files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
Identity = tuple[str, str, str, str]
"""API group, kind, namespace, name."""
DEFINITION = "CustomResourceDefinition"


@dataclass
class State:
    """What is to be there at one moment; definitions first."""

    label: str
    objects: list[Manifest] = field(default_factory=list)


def identity(manifest: Manifest) -> Identity:
    """What makes it the same object in another state."""
    metadata = manifest.get("metadata") or {}
    group = manifest["apiVersion"].rpartition("/")[0]
    return group, manifest["kind"], metadata.get("namespace") or "", metadata.get("name") or ""


def states(folder: Path, points: int) -> list[State]:
    """Subfolders, in the order of their names, are states one after the other, with steps between them where there are more points.

    A folder with files grows in steps.
    """
    below = sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    if below and not any(_files(folder, deep=False)):
        return _stretched([State(each.name, _ordered(_read(each))) for each in below], points)
    everything = _ordered(_read(folder))
    ends = sorted({max(1, len(everything) * step // points) for step in range(1, points + 1)})
    return [State(f"{end} objects", everything[:end]) for end in ends]


def _stretched(found: list[State], points: int) -> list[State]:
    """At least as many states as points: what a state changes comes in parts, first what goes, last what was made last."""
    made: list[State] = []
    before: dict[Identity, Manifest] = {}
    for number, state in enumerate(found):
        after = {identity(each): each for each in state.objects}
        changes = [key for key in reversed(before) if key not in after] + [key for key in after if before.get(key) != after[key]]
        parts = max(1, points * (number + 1) // len(found) - points * number // len(found))
        for part in range(1, parts):
            between = dict(before)
            for key in changes[: len(changes) * part // parts]:
                if key in after:
                    between[key] = after[key]
                else:
                    del between[key]
            made.append(State(f"{state.label}, part {part} of {parts}", list(between.values())))
        made.append(state)
        before = after
    return made


def _files(folder: Path, *, deep: bool) -> Iterator[Path]:
    found = folder.rglob("*") if deep else folder.glob("*")
    return (path for path in sorted(found) if path.suffix in (".yaml", ".yml") and path.is_file())


def _read(folder: Path) -> Iterator[Manifest]:
    for path in _files(folder, deep=True):
        try:
            documents = list(yaml.safe_load_all(path.read_text(errors="replace")))
        except yaml.YAMLError:
            continue  # a template, or broken: a cluster could not have taken it either
        for document in documents:
            if not isinstance(document, dict):
                continue
            for each in document.get("items", [document]) if str(document.get("kind", "")).endswith("List") else [document]:
                if isinstance(each, dict) and each.get("apiVersion") and each.get("kind") and (each.get("metadata") or {}).get("name"):
                    yield each


def _ordered(manifests: Iterator[Manifest]) -> list[Manifest]:
    """Of equal identities the last counts, as when they are applied one after the other."""
    found = {identity(each): each for each in manifests}
    return sorted(found.values(), key=lambda each: {DEFINITION: 0, "Namespace": 1}.get(each["kind"], 2))
