"""A plan into a folder: one YAML file per object, as ``kubectl apply`` takes it, and a manifest that says where each came from."""

from __future__ import annotations

from pathlib import Path

import msgspec
import yaml

from archiver.clock import to_text
from archiver.errors import Refused
from archiver.replay.kubernetes import manifests
from archiver.replay.kubernetes.plan import ClusterPlan
from archiver.replay.kubernetes.select import DEFINITIONS, Objects


class Written(msgspec.Struct, frozen=True):
    """One file."""

    file: str
    resource: str
    namespace: str
    name: str
    uid: str
    owners: list[str]
    """UIDs of its owners, as captured. They are not in the file: applied with UIDs that no longer exist, the object would be collected."""


class FolderReport(msgspec.Struct):
    """What was written."""

    folder: str
    files: int
    entry: int
    observed: str


def write_folder(plan: ClusterPlan, objects: Objects, folder: Path, *, overwrite: bool) -> FolderReport:
    """Write every object of the plan below ``folder``: ``definitions/`` first, then ``namespace/plural.group/name.yaml``.

    Status is in the files, though ``kubectl apply`` leaves it out where the kind has a status subresource: restore into a cluster brings it
    back. Raises ``Refused`` when the folder holds anything, unless ``overwrite``. ``manifest.json`` is written last: without it the
    folder is incomplete.
    """
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise Refused(f"folder {folder} is not empty", hint="name a new folder, or say --overwrite")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for action in plan.actions:
        if action.do == "skip":
            continue
        manifest = objects.by_key[action.resource, action.namespace, action.name]
        place = Path("definitions") if action.resource == DEFINITIONS else Path(action.namespace or "_cluster") / action.resource
        file = folder / place / f"{action.name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        wanted, _ = manifests.desired(manifest, {})
        if action.resource == DEFINITIONS:
            wanted.pop("status", None)
        file.write_text(yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True), encoding="utf-8")
        owned = manifests.owners(manifest)
        written.append(Written(str(place / file.name), action.resource, action.namespace, action.name, manifests.uid(manifest), owned))
    report = FolderReport(str(folder), len(written), plan.entry, to_text(plan.observed))
    manifest_file = {"source": plan.source, "cluster": plan.cluster, "entry": plan.entry, "observed": report.observed, "objects": written}
    (folder / "manifest.json").write_bytes(msgspec.json.format(msgspec.json.encode(manifest_file), indent=2) + b"\n")
    return report
