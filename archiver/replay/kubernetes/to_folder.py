"""A plan into a folder: one YAML file per object, as ``kubectl create`` takes it, and a manifest that says where each came from.

definitions/NAME.yaml
namespaces/NAME.yaml
objects/NAMESPACE/PLURAL.GROUP/NAME.yaml
objects/_cluster/PLURAL.GROUP/NAME.yaml
manifest.json                                with the commands that bring them back
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import msgspec

from archiver.clock import to_text
from archiver.errors import Refused
from archiver.journal.segment import CONTENT_LIMIT
from archiver.replay.kubernetes import manifests
from archiver.replay.kubernetes.owners import owner_uids
from archiver.replay.kubernetes.plan import ClusterPlan
from archiver.replay.kubernetes.selection import DEFINITIONS, NAMESPACES, Key, Objects
from archiver.untrusted import Unreadable, decode_untrusted

_MANIFEST = "manifest.json"
INCOMPLETE = "INCOMPLETE"
"""The manifest until every file that it lists is there."""

_LONGEST_NAME = 200
_NO_FILE_NAME = re.compile(r"[%/\0]|^\.{1,2}$")
"""What cannot stand in the name of a file, or would lead elsewhere; and the sign that stands for it."""

# Not `apply`: client-side it keeps a second copy of the object in an annotation; server-side the API server reads kubectl's JSON as YAML,
# which refuses some texts and changes others.
_COMMANDS = {
    "definitions": ["kubectl create -f definitions", "kubectl wait --for=condition=Established --timeout=60s -f definitions"],
    "namespaces": ["kubectl create -f namespaces"],
    "objects": ["kubectl create -R -f objects", "kubectl replace --subresource=status -R -f objects"],
}


class WrittenFile(msgspec.Struct, frozen=True):
    """One file."""

    file: str
    resource: str
    namespace: str
    name: str
    uid: str
    owners: list[str]
    """UIDs of its owners, as captured. They are not in the file: applied with UIDs that no longer exist, the object would be collected."""


class _FolderManifest(msgspec.Struct, frozen=True):
    source: str
    cluster: str
    entry: int
    observed: str
    objects: list[WrittenFile]
    doubts: list[str] = []
    """What is not certain of them."""
    commands: list[str] = []
    """How kubectl brings them back, run in the folder one after the other. A kind that has no status to put back is passed over."""


class FolderReport(msgspec.Struct):
    """What was written."""

    folder: str
    files: int
    entry: int
    observed: str

    @property
    def problems(self) -> list[str]:
        """None: a folder takes everything."""
        return []


def write_folder(plan: ClusterPlan, objects: Objects, folder: Path, *, overwrite: bool) -> FolderReport:
    """Write every object of the plan, and the namespaces they are in.

    Status is in the files; where the kind has a status subresource, a command of its own brings it back. Raises ``Refused`` when the folder
    holds anything, unless ``overwrite``, which takes away what an earlier restore wrote, be it complete or not. A file ``INCOMPLETE`` is
    there until all is written.
    """
    if folder.exists() and any(folder.iterdir()):
        if not overwrite:
            raise Refused(f"folder {folder} is not empty", hint="name a new folder, or say --overwrite")
        _clear(folder)
    written = []
    for action in plan.actions:
        if action.do != "skip":
            manifest = objects.by_key[action.key]
            written.append(WrittenFile(str(_place(action.key)), *action.key, manifests.uid(manifest), owner_uids(manifest)))
    needed = [(NAMESPACES, "", name) for name in plan.namespaces if (NAMESPACES, "", name) not in objects.by_key]
    written += [WrittenFile(str(_place(key)), *key, "", []) for key in needed]
    contents = _FolderManifest(plan.source, plan.cluster, plan.entry, to_text(plan.observed), written, plan.doubts(), _commands(written))
    folder.mkdir(parents=True, exist_ok=True)
    # First, so that what a restore that was stopped has left can be told from what is the user's.
    (folder / INCOMPLETE).write_bytes(msgspec.json.format(msgspec.json.encode(contents), indent=2) + b"\n")
    for each in written:
        _write(folder / each.file, _document(each, objects))
    (folder / INCOMPLETE).rename(folder / _MANIFEST)
    return FolderReport(str(folder), len(written), contents.entry, contents.observed)


def _commands(written: list[WrittenFile]) -> list[str]:
    there = {each.file.partition("/")[0] for each in written}
    return [command for folder, commands in _COMMANDS.items() if folder in there for command in commands]


def _document(written: WrittenFile, objects: Objects) -> dict[str, Any]:
    manifest = objects.by_key.get((written.resource, written.namespace, written.name))
    if manifest is None:
        return manifests.namespace(written.name)
    wanted, _ = manifests.desired(manifest, {})
    if written.resource == DEFINITIONS:
        wanted.pop("status", None)
    return wanted


def _place(key: Key) -> Path:
    resource, namespace, name = map(_file_name, key)
    if resource == DEFINITIONS:
        return Path("definitions") / f"{name}.yaml"
    if resource == NAMESPACES:
        return Path("namespaces") / f"{name}.yaml"
    return Path("objects") / (namespace or "_cluster") / resource / f"{name}.yaml"


def _file_name(name: str) -> str:
    """``name`` as a part of a path, for each name another one. Roles may be named almost anything, at any length."""
    safe = _NO_FILE_NAME.sub(lambda found: "".join(f"%{ord(sign):02X}" for sign in found[0]), name)
    whole = safe.encode()
    if len(whole) <= _LONGEST_NAME:
        return safe
    # File systems end at 255 bytes, names of most objects at 253 characters.
    return f"{whole[:_LONGEST_NAME].decode(errors='ignore')}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _write(file: Path, document: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    from archiver.replay.kubernetes.yaml_text import to_yaml  # its emitter takes long to load, and other targets need none

    file.write_text(to_yaml(document), encoding="utf-8")


def _clear(folder: Path) -> None:
    """Take away what an earlier restore wrote, and nothing else."""
    for manifest in (folder / INCOMPLETE, folder / _MANIFEST):
        if not manifest.exists():
            continue
        try:
            contents = decode_untrusted(manifest.read_bytes(), _FolderManifest, most=CONTENT_LIMIT)
        except Unreadable:
            raise Refused(f"{manifest} is not what a restore wrote", hint="name a new folder") from None
        if manifest.name == _MANIFEST:
            manifest = manifest.rename(folder / INCOMPLETE)  # noqa: PLW2901
        for written in contents.objects:
            file = folder / _place((written.resource, written.namespace, written.name))
            file.unlink(missing_ok=True)
        manifest.unlink()
