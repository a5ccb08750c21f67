"""Users in the log of changes, by the audit log of a real API server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.servers.archiver import Archiver
from tests.servers.controlplane import ControlPlane
from tests.servers.crds import custom_resource, definitions, path

POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: RequestResponse, resources: [{group: tools.proompteng.ai}]}
  - {level: Metadata, resources: [{group: agents.proompteng.ai}]}
  - {level: None}
"""
MERGE = "application/merge-patch+json"
SPACE = "work"


class People:
    """What two users of the cluster do."""

    def __init__(self, cluster: ControlPlane) -> None:
        self._cluster = cluster
        cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": SPACE}})
        self._tokens = {}
        for name in ("alice", "bob"):
            cluster.apply(
                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": SPACE}},
                {
                    "apiVersion": "rbac.authorization.k8s.io/v1",
                    "kind": "ClusterRoleBinding",
                    "metadata": {"name": name},
                    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
                    "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": SPACE}],
                },
            )
            self._tokens[name] = cluster.service_account_token(SPACE, name)

    def make(self, who: str, kind: str, name: str, **metadata: Any) -> None:
        body = custom_resource(kind, SPACE, name)
        body["metadata"] |= metadata
        self._cluster.request("POST", path(kind, SPACE), body, token=self._tokens[who])

    def change(self, who: str, kind: str, name: str, metadata: dict[str, Any]) -> None:
        where = path(kind, SPACE, name)
        self._cluster.request("PATCH", where, {"metadata": metadata}, token=self._tokens[who], content_type=MERGE)

    def delete(self, who: str, kind: str, name: str, body: dict[str, Any] | None = None, *, query: str = "") -> None:
        self._cluster.request("DELETE", path(kind, SPACE, name) + query, body, token=self._tokens[who])


def test_a_user_is_named_where_the_audit_log_leaves_one(start_cluster: Callable[..., ControlPlane], tmp_path: Path) -> None:
    """Who deleted it, who made it; at level RequestResponse who changed it. Where two can have done it, or the level does not tell: nobody."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    audit = tmp_path / "audit.log"
    flags = [f"--audit-policy-file={tmp_path / 'policy.yaml'}", f"--audit-log-path={audit}"]
    kinds = ("agents.agents.proompteng.ai", "toolruns.tools.proompteng.ai")
    cluster = start_cluster(flags=flags, definitions=[each for each in definitions() if each["metadata"]["name"] in kinds])
    people = People(cluster)
    kubernetes = {"kubeconfig": str(cluster.kubeconfig), "namespaces": [SPACE], "resources": list(kinds)}
    with Archiver(tmp_path, {"agents": {"kubernetes": kubernetes}}, serve=True) as archiver:
        archiver.start()
        for kind in kinds:
            plural, _, group = kind.partition(".")
            stream = f"agents/{group}/{plural}@{SPACE}"
            archiver.wait(lambda stream=stream: archiver.live_source(stream).get("checkpoint"), "no list")
        people.make("alice", "Agent", "plain")
        people.change("bob", "Agent", "plain", {"labels": {"x": "1"}})
        people.delete("bob", "Agent", "plain")
        people.make("alice", "Agent", "kept", finalizers=["example.com/wait"])
        people.delete("alice", "Agent", "kept")
        people.change("bob", "Agent", "kept", {"finalizers": None})
        people.make("bob", "Agent", "tried")
        people.delete("alice", "Agent", "tried", {"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]})
        people.delete("bob", "Agent", "tried")
        # With a body the server does not look into the URL: it is gone.
        people.make("alice", "Agent", "hidden")
        people.delete("bob", "Agent", "hidden", {"kind": "DeleteOptions", "apiVersion": "v1"}, query="?dryRun=All")
        people.make("alice", "ToolRun", "run")
        people.change("bob", "ToolRun", "run", {"labels": {"x": "1"}})
        people.change("alice", "ToolRun", "run", {"labels": {"x": "1"}})
        people.delete("alice", "ToolRun", "run")

        def log(*words: str) -> list[dict[str, Any]]:
            done = archiver.call("log", "--json", *words)
            assert done.returncode == 0, done.stderr
            return [json.loads(line) for line in done.stdout.splitlines()]

        archiver.wait(lambda: [each["operation"] for each in log()].count("deleted") == 5, "not all is captured")
        assert archiver.stop() == 0
        found = [each for each in log("--audit-log", str(audit)) if each.get("name")]
        users = [(each["name"], each["operation"], each.get("user", "").rpartition(":")[2]) for each in found]
        assert [each for each in users if each[0] == "plain"] == [
            ("plain", "added", "alice"),
            ("plain", "modified", ""),
            ("plain", "deleted", "bob"),
        ]
        assert [each for each in users if each[0] == "kept"] == [
            ("kept", "added", "alice"),
            ("kept", "modified", ""),
            ("kept", "deleted", "alice"),
        ]
        assert [each for each in users if each[0] == "tried"] == [("tried", "added", "bob"), ("tried", "deleted", "")]
        assert [each for each in users if each[0] == "hidden"] == [("hidden", "added", "alice"), ("hidden", "deleted", "bob")]
        (doubt,) = [each["detail"] for each in found if (each["name"], each["operation"]) == ("tried", "deleted")]
        assert doubt == "by the audit log, any of 2 users may have made it"
        assert [each for each in users if each[0] == "run"] == [
            ("run", "added", "alice"),
            ("run", "modified", "bob"),
            ("run", "deleted", "alice"),
        ]
        (note,) = [each["detail"] for each in log("--audit-log", str(audit)) if each["operation"] == "note"]
        assert note.startswith("of 3 changes of objects the audit log does not say for certain")
        assert not any("user" in each for each in log())

        who = ("log", "--kind", "agents", "--like", f"{SPACE}/plain", "--operation", "deleted", "--audit-log", str(audit))
        said = archiver.call(*who)
        assert f"user, by the audit log: system:serviceaccount:{SPACE}:bob" in said.stdout
        assert archiver.call(*who, "--format", "parquet", "-o", str(tmp_path / "who.parquet")).returncode == 0
        assert pq.read_table(tmp_path / "who.parquet").to_pylist()[0]["user"] == f"system:serviceaccount:{SPACE}:bob"
        # Half of the log: whoever is missing could be the one, so a line that is none is refused.
        audit.write_bytes(audit.read_bytes()[100:])
        broken = archiver.call(*who)
        assert broken.returncode == 2
        assert "line 1 of" in broken.stderr
