"""What ``archiver init`` asks a cluster: which custom resources it serves, and which rights are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archiver.capture.kubernetes.config import KubernetesConfig
from archiver.capture.kubernetes.discovery import Selector, discover
from archiver.capture.kubernetes.rights import check_rights
from archiver.clock import Clock
from archiver.kubernetes.api import Api
from archiver.settings.draft import SourceDraft

if TYPE_CHECKING:
    from archiver.kubernetes.records import Resource


async def ask_cluster(clock: Clock, path: str, context: str, namespaces: list[str]) -> SourceDraft:
    """A draft of the cluster behind the kubeconfig ``path`` (empty: in-cluster, else the usual one).

    Raises ``Invalid``, ``Unavailable``.
    """
    api = await Api.open(clock, kubeconfig=path, context=context)
    try:
        served = [each for each in (await discover(api, [Selector("*", "*")])).resources if _custom(each)]
        groups = sorted({each.group for each in served})
        lines = [f"*.{group}" for group in groups]
        report = None
        if lines:
            report = await check_rights(api, KubernetesConfig(resources=lines, namespaces=namespaces, kubeconfig=path, context=context))
    finally:
        await api.close()
    values: dict[str, str | list[str]] = {}
    if path:
        values["kubeconfig"] = path
    if context:
        values["context"] = context
    values["resources"] = lines or ["*.example.com"]
    notes = ["Every resource of these groups. One of them alone: plural.group; what is not named here is not captured."]
    notes += [f"{group}: {', '.join(each.plural for each in served if each.group == group)}" for group in groups]
    if not lines:
        notes = ["The cluster serves no custom resources yet: name those that are still to come."]
    behind = [] if namespaces else ["All namespaces, which takes cluster-wide rights. Fewer:", "namespaces: [agents]"]
    if namespaces:
        values["namespaces"] = namespaces
    if report is not None:
        behind += [f"{'NO' if right.required else 'warning'}: these credentials may not {right}" for right in report.missing]
    about = f"{len(served)} kinds{f' at {report.server}' if report is not None else ''}"
    kept = {"resources": notes, "": behind}
    return SourceDraft(wish=context or "cluster", kind="kubernetes", about=about, values=values, notes=kept)


def _custom(resource: Resource) -> bool:
    """Whether it is somebody's own: groups of Kubernetes have no dot, or end in ``.k8s.io``."""
    return "." in resource.group and not resource.group.endswith(".k8s.io")
