"""The chart and the examples, rendered and validated by real tools and a real API server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from archiver.service import metrics
from archiver.settings import parse
from tests.servers.controlplane import ControlPlane

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/charts/archiver"
FOREIGN = {"ObjectBucketClaim", "ServiceMonitor", "PrometheusRule", "Application"}
"""Kinds of other products, which the test server does not know."""

FULL = {
    "archive": {"s3": {"endpoint": "https://s3.example", "credentialsSecret": {"name": "bucket"}, "caSecret": {"name": "ca"}}},
    "postgres": {
        "enabled": True,
        "databases": [
            {
                "name": "agents-db",
                "dsnSecret": {"name": "db", "key": "uri"},
                "caSecret": {"name": "ca", "key": "ca.crt"},
                "settings": {"poll_seconds": 5},
            }
        ],
    },
    "rbac": {"clusterScoped": True},
    "controller": {"namespaces": ["*"]},
    "networkPolicy": {"enabled": True, "egress": [{"ports": [{"port": 443}]}]},
    "serviceMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True, "as": "configMap", "runbookBaseUrl": "https://example.com/runbooks/"},
    "grafanaDashboard": {"enabled": True},
    "drill": {
        "enabled": True,
        "scratchDsnSecret": {"name": "scratch"},
        "assertions": [{"name": "many", "source": "agents-db", "sql": "SELECT count(*) FROM a WHERE b < 'é\"'", "equals": 12_000_000}],
    },
    "maintain": {"enabled": True},
    "env": {"extra": [{"name": "ARCHIVER_LOG__LEVEL", "value": "debug"}], "fromSecrets": ["more"], "fromConfigMaps": ["more"]},
    "persistence": {"enabled": True},
    "web": {"ui": True},
    "timeline": {"names": ["timeline.example.com"], "audience": "timeline", "credentialsSecret": {"name": "reading"}},
}


def _database(name: str) -> dict[str, Any]:
    return {"name": name, "dsnSecret": {"name": name, "key": "uri"}}


def render(cluster: ControlPlane, values: dict[str, Any], tmp_path: Path) -> list[dict[str, Any]]:
    """What the chart makes of ``values`` for release ``agents`` in namespace ``agents``."""
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    text = cluster.helm("template", "agents", CHART, "--namespace", "agents", "--values", file)
    return [document for document in yaml.safe_load_all(text) if document]


def validate(cluster: ControlPlane, documents: list[dict[str, Any]]) -> None:
    """Server-side dry run of every document that the server knows, with strict fields."""
    known = [document for document in documents if document["kind"] not in FOREIGN]
    cluster.kubectl("apply", "--dry-run=server", "--server-side", "--validate=strict", "-f", "-", input=yaml.safe_dump_all(known))


@pytest.fixture(scope="module")
def agents(cluster: ControlPlane) -> ControlPlane:
    """``cluster`` with the namespaces of the first users."""
    spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in ("agents", "synthesis")]
    cluster.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(spaces))
    return cluster


@pytest.mark.parametrize("values", [{}, FULL], ids=["defaults", "everything"])
def test_renders_and_validates(agents: ControlPlane, values: dict[str, Any], tmp_path: Path) -> None:
    """Defaults and a file with every switch on render, and the API server takes every object with strict validation."""
    documents = render(agents, values, tmp_path)
    validate(agents, documents)
    settings = next(document["data"]["archiver.yaml"] for document in documents if "archiver.yaml" in document.get("data", {}))
    parsed = parse(yaml.safe_load(settings), "chart")
    assert parsed.sources
    wanted = values.get("drill", {}).get("assertions", [])
    assert [(each.sql, each.equals) for each in parsed.drills.assertions] == [(each["sql"], each["equals"]) for each in wanted]


def test_rendering_is_stable(agents: ControlPlane, tmp_path: Path) -> None:
    """Two renderings are equal byte for byte: no random values, no lookups, as Argo CD needs."""
    assert render(agents, FULL, tmp_path) == render(agents, FULL, tmp_path)
    templates = "".join(file.read_text() for file in (CHART / "templates").iterdir())
    assert not re.search(r"\b(lookup|randAlpha|genCA|now|uuidv4)\b", templates)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"archive": {"url": "ftp://x"}}, "archive/url"),
        ({"archive": {"url": "file:///var/lib/archiver"}}, "persistence.enabled"),
        ({"archive": {"bufferBytes": 5}}, "bufferBytes"),
        ({"archive": {"s3": {"endpoint": "http://rgw"}}}, "allowHttp"),
        ({"imag": {}}, "imag"),
        ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
        ({"controller": {"namespaces": ["*"]}}, "rbac.clusterScoped"),
        ({"controller": {"namespaces": "agents"}}, "namespaces"),
        ({"kubernetes": {"apiGroups": []}}, "kubernetes.apiGroups"),
        ({"postgres": {"enabled": True}}, "postgres.databases"),
        (
            {
                "postgres": {
                    "enabled": True,
                    "databases": [{"name": "db", "dsnSecret": {"name": "x", "key": "y"}, "settings": {"password": "p"}}],
                }
            },
            "databases",
        ),
        ({"kubernetes": {"enabled": False}}, "nothing is captured"),
        ({"web": {"ui": True}, "archive": {"url": "file:///var/lib/archiver"}, "persistence": {"enabled": True}}, "web.ui with a file:"),
        ({"timeline": {"credentialsSecret": {"name": "reading"}}}, "needs archive.s3.credentialsSecret"),
        ({"postgres": {"enabled": True, "databases": [_database("a"), _database("b"), _database("a")]}}, '2 sources are called "a"'),
        (
            {"postgres": {"enabled": True, "databases": [_database("agents")]}, "kubernetes": {"name": "agents"}},
            '2 sources are called "agents"',
        ),
    ],
)
def test_wrong_values_are_refused(agents: ControlPlane, values: dict[str, Any], named: str, tmp_path: Path) -> None:
    """Values that cannot work fail the render and the message names them."""
    with pytest.raises(subprocess.CalledProcessError) as error:
        render(agents, values, tmp_path)
    assert named in "".join(getattr(error.value, "__notes__", [])) + str(error.value.stderr)


def test_namespaced_rights_read_nothing_cluster_wide(agents: ControlPlane, tmp_path: Path) -> None:
    """Without rbac.clusterScoped there are only Roles, in the named namespaces, and only reading verbs."""
    documents = render(agents, {"controller": {"namespaces": ["agents", "synthesis"]}}, tmp_path)
    kinds = {document["kind"] for document in documents}
    assert not kinds & {"ClusterRole", "ClusterRoleBinding"}
    roles = [document for document in documents if document["kind"] == "Role"]
    assert {role["metadata"]["namespace"] for role in roles} == {"agents", "synthesis"}
    assert {verb for role in roles for rule in role["rules"] for verb in rule["verbs"]} == {"get", "list", "watch"}


def test_patterns_and_rights_come_from_one_list(agents: ControlPlane, tmp_path: Path) -> None:
    """The groups that may be read, and all beside them, are selected: a kind that no right covers is told. What is named alone gets rights."""

    def made(values: dict[str, Any]) -> tuple[list[str], list[tuple[list[str], list[str]]]]:
        documents = render(agents, {"kubernetes": values}, tmp_path)
        settings = next(document["data"]["archiver.yaml"] for document in documents if "archiver.yaml" in document.get("data", {}))
        rules = next(document for document in documents if document["kind"] == "Role")["rules"]
        resources = yaml.safe_load(settings)["sources"]["agents"]["kubernetes"]["resources"]
        return resources, [(rule["apiGroups"], rule["resources"]) for rule in rules]

    groups = ["a.example.org", "b.example.org", "example.com"]
    assert made({"apiGroups": groups}) == (["*.example.org", "*.example.com"], [(groups, ["*"])])
    named = ["*.example.org", "configmaps", "widgets.example.net"]
    assert made({"apiGroups": groups, "resources": named}) == (
        named,
        [(groups, ["*"]), ([""], ["configmaps"]), (["example.net"], ["widgets"])],
    )
    assert made({})[0] == ["*.proompteng.ai"]


@pytest.mark.parametrize(
    ("maintain", "enabled"),
    [({}, True), ({"background": False}, False), ({"enabled": True, "historyFiles": True, "compaction": True}, False)],
)
def test_one_thing_folds(agents: ControlPlane, tmp_path: Path, maintain: dict[str, Any], enabled: bool) -> None:
    """The Pod that captures folds in the background, unless that is switched off or a Job does it; its limit holds both."""
    documents = render(agents, {"maintain": maintain}, tmp_path)
    settings = next(document["data"]["archiver.yaml"] for document in documents if "archiver.yaml" in document.get("data", {}))
    maintenance = parse(yaml.safe_load(settings), "chart").maintenance
    assert (maintenance.enabled, maintenance.restore_time_objective) == (enabled, 60)
    assert maintenance.history_files is maintain.get("historyFiles", False)
    assert maintenance.compaction is maintain.get("compaction", False)
    pod = next(document for document in documents if document["kind"] == "Deployment")["spec"]["template"]["spec"]
    limit = pod["containers"][0]["resources"]["limits"]["memory"]
    assert int(limit.removesuffix("Mi")) << 20 == (768 << 20) + maintenance.memory_bytes


def test_secrets_are_references_only(agents: ControlPlane, tmp_path: Path) -> None:
    """No Secret is rendered; the settings name files, which are read again when they change, and each file is mounted from a Secret."""
    documents = render(agents, FULL, tmp_path)
    assert "Secret" not in {document["kind"] for document in documents}
    settings = next(document["data"]["archiver.yaml"] for document in documents if "archiver.yaml" in document.get("data", {}))
    pod = next(document for document in documents if document["kind"] == "Deployment")["spec"]["template"]["spec"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    files = {
        f"file:{mounts[volume['name']]}/{item['path']}": (volume["secret"]["secretName"], item["key"])
        for volume in pod["volumes"]
        for item in volume.get("secret", {}).get("items", [])
    }
    assert files == {
        "file:/etc/archiver/s3/access_key": ("bucket", "AWS_ACCESS_KEY_ID"),
        "file:/etc/archiver/s3/secret_key": ("bucket", "AWS_SECRET_ACCESS_KEY"),
        "file:/etc/archiver/databases/agents-db/dsn": ("db", "uri"),
        "file:/etc/archiver/authorities/agents-db/ca.crt": ("ca", "ca.crt"),
    }
    # The authority of the server's certificate is no secret: a plain path.
    assert all(reference.removeprefix("file:" if "authorities" in reference else "") in settings for reference in files)


def test_the_page_has_a_pod_and_rights_of_its_own(agents: ControlPlane, tmp_path: Path) -> None:
    """Off by default; on, it may ask for reviews and nothing else, and has neither the capture's rights, nor its connections, nor its keys."""
    assert not [each for each in render(agents, {}, tmp_path) if each["metadata"]["name"].endswith("-timeline")]
    documents = {(each["kind"], each["metadata"]["name"]): each for each in render(agents, FULL, tmp_path)}
    pod = documents["Deployment", "agents-archiver-timeline"]["spec"]["template"]["spec"]
    role = documents["ClusterRole", "agents-agents-archiver-timeline"]
    assert {(resource, *rule["verbs"]) for rule in role["rules"] for resource in rule["resources"]} == {
        ("tokenreviews", "create"),
        ("subjectaccessreviews", "create"),
    }
    account = pod["serviceAccountName"]
    bound = {
        each["roleRef"]["name"]
        for (kind, _), each in documents.items()
        if kind.endswith("RoleBinding") and account in {subject["name"] for subject in each["subjects"]}
    }
    assert bound == {role["metadata"]["name"]}
    secrets = {volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
    assert secrets == {"ca", "reading"}
    words = pod["containers"][0]["args"]
    assert words[:5] == ["web", "--reviews", "--cluster=agents", "--namespace=agents", "--audience=timeline"]
    assert {"--name=agents-archiver-timeline.agents.svc", "--name=timeline.example.com"} <= set(words)
    assert "limits" in pod["containers"][0]["resources"]
    services = {name: each["spec"]["selector"] for (kind, name), each in documents.items() if kind == "Service"}
    labels = documents["Deployment", "agents-archiver-timeline"]["spec"]["template"]["metadata"]["labels"]
    chosen = [name for name, selector in services.items() if selector.items() <= labels.items()]
    assert chosen == ["agents-archiver-timeline"]
    plain = render(agents, {"web": {"ui": True}, "kubernetes": {"enabled": False}, "postgres": FULL["postgres"]}, tmp_path)
    pod = next(each for each in plain if each["metadata"]["name"] == "agents-archiver-timeline" and each["kind"] == "Deployment")
    assert not [word for word in pod["spec"]["template"]["spec"]["containers"][0]["args"] if word.startswith(("--cluster", "--audience"))]
    namespaced = render(agents, {"web": {"ui": True}, "archive": FULL["archive"]}, tmp_path)
    pod = next(each for each in namespaced if each["metadata"]["name"] == "agents-archiver-timeline" and each["kind"] == "Deployment")
    volumes = pod["spec"]["template"]["spec"]["volumes"]
    assert {volume["secret"]["secretName"] for volume in volumes if "secret" in volume} == {"ca", "bucket"}


def test_every_value_is_in_the_schema_and_commented() -> None:
    """Values, schema and comments say the same: each leaf has a ``# --`` line above it and a place in the schema."""
    schema = json.loads((CHART / "values.schema.json").read_text())

    def leaves(value: Any, node: dict[str, Any], path: str) -> list[str]:
        if isinstance(value, dict) and value and "properties" in node:
            return [leaf for key, below in value.items() for leaf in leaves(below, node["properties"][key], f"{path}.{key}")]
        return [path]

    names = leaves(yaml.safe_load((CHART / "values.yaml").read_text()), schema, "")
    text = (CHART / "values.yaml").read_text()
    for name in names:
        key = name.rsplit(".", 1)[-1]
        assert re.search(rf"# -- .*\n(\s*#.*\n)*\s*{re.escape(key)}:", text), f"{name} has no comment"


def _places(documents: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    for document in documents:
        metadata = document["metadata"]
        yield document["kind"], metadata.get("namespace", ""), metadata["name"]


def test_kustomize_renders_what_helm_renders(agents: ControlPlane, tmp_path: Path) -> None:
    """``kubectl kustomize --enable-helm`` of the example gives the chart's own objects, as Argo CD renders them; the server takes them."""
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    folder = tmp_path / "deploy/kustomize/agents"
    rendered = agents.kubectl("kustomize", "--enable-helm", folder)
    documents = [document for document in yaml.safe_load_all(rendered) if document]
    validate(agents, documents)
    values = yaml.safe_load((folder / "values.yaml").read_text())
    direct = agents.helm("template", "archiver", CHART, "--namespace", "agents", "--values", folder / "values.yaml")
    helm = sorted(_places(document for document in yaml.safe_load_all(direct) if document))
    kustomize = sorted(_places(document for document in documents if document["kind"] not in FOREIGN))
    assert helm == kustomize
    assert {space for kind, space, _ in helm if kind == "Role"} == {"agents", "synthesis"}
    assert values["rbac"]["clusterScoped"] is False


def test_examples_are_yaml_of_known_kinds() -> None:
    """The Argo CD example points at a folder that exists."""
    application = yaml.safe_load((ROOT / "deploy/argocd/application.yaml").read_text())
    assert (ROOT / application["spec"]["source"]["path"] / "kustomization.yaml").exists()


def test_every_alert_has_its_runbook_and_metric() -> None:
    """Each alert's runbook bears its name, and each alert reads a metric that exists."""
    known = metrics.names()
    rules = [rule for group in yaml.safe_load((CHART / "alerts/rules.yaml").read_text()) for rule in group["rules"]]
    assert rules
    for rule in rules:
        assert (ROOT / f"docs/runbooks/{rule['alert']}.md").exists(), rule["alert"]
        assert set(re.findall(r"archiver_\w+", rule["expr"])) <= known, rule["expr"]


def test_the_dashboard_reads_metrics_that_exist(agents: ControlPlane, tmp_path: Path) -> None:
    """Each panel of the rendered dashboard says what it shows, has a place of its own, and asks for series that are scraped, by labels that
    they have; nothing that an operator would look for in vain is left out."""
    documents = render(agents, {"grafanaDashboard": {"enabled": True, "annotations": {"folder": "backup"}}}, tmp_path)
    (made,) = [document for document in documents if document["metadata"]["name"] == "agents-archiver-dashboard"]
    validate(agents, [made])
    assert (made["metadata"]["labels"]["grafana_dashboard"], made["metadata"]["annotations"]) == ("1", {"folder": "backup"})
    dashboard = json.loads(made["data"]["archiver.json"])
    panels = dashboard["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    asked += [each["query"]["query"] for each in dashboard["templating"]["list"] if each["type"] == "query"]
    used = {name for expr in asked for name in re.findall(r"\b(?:archiver|process)_\w+", expr)}
    assert used <= metrics.names(), used - metrics.names()
    read = {
        name
        for group in yaml.safe_load((CHART / "alerts/rules.yaml").read_text())
        for rule in group["rules"]
        for name in re.findall(r"archiver_\w+", rule["expr"])
    }
    assert read - used <= {"archiver_source_baseline"}
    for expr in asked:
        for name, matchers in re.findall(r"\b((?:archiver|process)_\w+)\{([^}]*)\}", expr):
            allowed = {"job", "source"} if name.startswith("archiver_source_") else {"job"}
            assert set(re.findall(r"(\w+)(?:=~|=|!=)", matchers)) <= allowed, expr
        assert expr.count("(") == expr.count(")")
    assert len({panel["id"] for panel in panels}) == len({tuple(panel["gridPos"].values()) for panel in panels}) == len(panels) > 12
    assert all(panel["description"].endswith(".") and panel["title"] for panel in panels)


def test_an_alert_reads_the_series_of_its_own_release_only(agents: ControlPlane, tmp_path: Path) -> None:
    """With a ServiceMonitor, or a selector, every series is matched: another release that runs must not hide that this one is down."""
    series = re.compile(r"archiver_[a-z_]+(\{[^}]*\})?")

    def matchers(values: dict[str, Any]) -> set[str]:
        documents = render(agents, {"drill": {"enabled": True}, **values}, tmp_path)
        rules = next(document for document in documents if document["kind"] == "PrometheusRule")["spec"]["groups"][0]["rules"]
        written = [rule for group in yaml.safe_load((CHART / "alerts/rules.yaml").read_text()) for rule in group["rules"]]
        assert [len(series.findall(rule["expr"])) for rule in rules] == [len(series.findall(rule["expr"])) for rule in written]
        return {re.sub(r',?source[!=]~"[^"]*"', "", match[1] or "") for rule in rules for match in series.finditer(rule["expr"])}

    rule = {"enabled": True}
    assert matchers({"prometheusRule": rule, "serviceMonitor": {"enabled": True}}) == {'{namespace="agents",service="agents-archiver"}'}
    assert matchers({"prometheusRule": {**rule, "selector": 'job="a"'}, "serviceMonitor": {"enabled": True}}) == {'{job="a"}'}
    assert matchers({"prometheusRule": rule}) == {"", "{}"}


def test_alerts_that_only_warn_are_told_apart(agents: ControlPlane, tmp_path: Path) -> None:
    """Data at risk is critical; a backlog and a drill that is late are not."""
    documents = render(agents, {"prometheusRule": {"enabled": True}, "drill": {"enabled": True}}, tmp_path)
    rules = next(document for document in documents if document["kind"] == "PrometheusRule")["spec"]["groups"][0]["rules"]
    assert {rule["alert"] for rule in rules if rule["labels"]["severity"] == "warning"} == {"ArchiverSourceBehind", "ArchiverDrillStale"}
    assert {rule["labels"]["severity"] for rule in rules} == {"warning", "critical"}


def test_alerts_fire_when_they_should() -> None:
    """What a rule's wording alone decides: a gap found at start, a small WAL limit, and an archive too new to have been drilled."""
    rules = [rule for group in yaml.safe_load((CHART / "alerts/rules.yaml").read_text()) for rule in group["rules"]]
    gap = next(rule for rule in rules if rule["alert"] == "ArchiverGap")
    assert "unless archiver_source_gaps_total offset 1h" in gap["expr"]
    wal = next(rule for rule in rules if rule["alert"] == "ArchiverWalRetained")
    assert "archiver_source_retained_wal_bytes > archiver_source_safe_wal_bytes" in wal["expr"]
    proven, never = [rule for rule in rules if rule["alert"] == "ArchiverDrillStale"]
    assert "> 0" in proven["expr"]
    assert (never["expr"].endswith("== 0"), never["for"]) == (True, "2d")


@pytest.mark.parametrize("command", ["drill", "maintain"])
def test_a_job_runs_where_the_capture_may_and_has_no_secret_of_a_source(agents: ControlPlane, tmp_path: Path, command: str) -> None:
    """Scheduled in UTC, on the same nodes, with the labels and annotations of all Pods, and without a captured database's connection."""
    everywhere = {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "storage", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "podLabels": {"team": "a"},
        "podAnnotations": {"sidecar": "no"},
    }
    documents = render(agents, {**FULL, **everywhere}, tmp_path)
    validate(agents, documents)
    jobs = {document["metadata"]["name"]: document["spec"] for document in documents if document["kind"] == "CronJob"}
    assert set(jobs) == {"agents-archiver-drill", "agents-archiver-maintain"}
    job = jobs[f"agents-archiver-{command}"]
    container = job["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    assert (container["name"], container["args"][0]) == (command, command)
    assert ("DRILL_DSN" in {each["name"] for each in container["env"]}) == (command == "drill")
    capture = next(document for document in documents if document["kind"] == "Deployment")["spec"]["template"]
    pod = job["jobTemplate"]["spec"]["template"]
    assert job["timeZone"] == "Etc/UTC"
    for each in (capture, pod):
        assert {name: each["spec"][name] for name in ("nodeSelector", "tolerations", "affinity")} == {
            name: everywhere[name] for name in ("nodeSelector", "tolerations", "affinity")
        }
        assert (each["metadata"]["labels"]["team"], each["metadata"]["annotations"]["sidecar"]) == ("a", "no")
    names = [{one["name"] for one in each["spec"]["volumes"]} for each in (capture, pod)]
    assert "dsn-0" in names[0]
    assert not [name for name in names[1] if name.startswith("dsn-")]
    # The capture holds the claim, which most classes give to one node at a time.
    claims = [[volume["name"] for volume in each["spec"]["volumes"] if "persistentVolumeClaim" in volume] for each in (capture, pod)]
    assert claims == [["archive"], []]
