"""``kubectl archiver`` through the real kubectl and a real API server. There is no kubelet, so a stand-in notes what would be run in a Pod."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from archiver.cli import kubectl_plugin
from archiver.cli.main import COMMANDS
from archiver.errors import Invalid, Refused, Unavailable
from tests.servers.controlplane import ControlPlane
from tests.servers.controlplane_build import program

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/howto/kubectl.md").read_text()
EXIT = 3
"""Of the command in the Pod."""


class Shell:
    """A shell with the plugin and kubectl on its PATH."""

    def __init__(self, cluster: ControlPlane, folder: Path) -> None:
        self.noted = folder / "noted"
        real = shlex.join(program("kubectl"))
        # The plugin is a file of its own, as pip makes it: kubectl finds it by its name.
        self._put(folder / "bin/kubectl-archiver", f'exec {sys.executable} -m archiver.cli.kubectl_plugin "$@"')
        noting = f'for word in "$@"; do if [ "$word" = exec ]; then printf "%s\\n" "$@" > {self.noted}; exit {EXIT}; fi; done'
        self._put(folder / "bin/kubectl", f'{noting}\nexec {real} "$@"')
        path = f"{folder / 'bin'}:{os.environ['PATH']}"
        self._environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "PATH": path, "PYTHONPATH": str(ROOT)}

    def _put(self, file: Path, script: str) -> None:
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """``kubectl archiver WORDS``."""
        self.noted.unlink(missing_ok=True)
        command = ["kubectl", "archiver", *words]
        return subprocess.run(command, env=self._environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    def run_in_pod(self, *words: str) -> list[str]:
        """What kubectl would have been told to run there."""
        done = self.call(*words)
        assert done.returncode == EXIT, done.stderr
        return self.noted.read_text().splitlines()


@pytest.fixture
def shell(cluster: ControlPlane, tmp_path: Path) -> Shell:
    return Shell(cluster, tmp_path)


def install(cluster: ControlPlane, namespace: str, release: str) -> None:
    """The chart, as a user does."""
    cluster.helm("install", release, ROOT / "deploy/charts/archiver", "--namespace", namespace)


def test_it_finds_the_release_and_runs_there(cluster: ControlPlane, namespace: str, shell: Shell) -> None:
    """The only one, or the one that is named; with the command's own words, and its exit code."""
    none = shell.call("-n", namespace, "status")
    assert (none.returncode, none.stdout, "no release" in none.stderr) == (2, "", True)
    install(cluster, namespace, "one")
    asked = ("log", "--from", "10 minutes ago", "--json")
    expected = ["exec", "deployment/one-archiver", "-c", "archiver", "--", "archiver", *asked]
    assert shell.run_in_pod("-n", namespace, *asked) == [f"--namespace={namespace}", *expected]
    assert shell.run_in_pod("--namespace", namespace, "--context", "rig", *asked)[:2] == [f"--namespace={namespace}", "--context=rig"]
    plan = ("--at", "latest", "--to", "kubeconfig:k8s", "--dry-run")
    assert shell.run_in_pod("-n", namespace, "restore", *plan)[-7:] == ["restore", "--dry-run", *plan]
    install(cluster, namespace, "two")
    several = shell.call("-n", namespace, "status")
    assert (several.returncode, "name one with --release: one, two" in several.stderr) == (2, True)
    assert "deployment/two-archiver" in shell.run_in_pod("-n", namespace, "--release", "two", "status")
    misspelt = shell.call("-n", namespace, "--release", "tow", "status")
    assert (misspelt.returncode, "did you mean two?" in misspelt.stderr) == (2, True)


def test_the_documented_rights_are_enough_and_needed(cluster: ControlPlane, namespace: str, shell: Shell) -> None:
    """Whoever has the Role of the how-to gets there, and reads no Secret; whoever has it not is told what is missing."""
    install(cluster, namespace, "agents")
    account = f"system:serviceaccount:{namespace}:asks"
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "asks", "namespace": namespace}})
    refused = shell.call("-n", namespace, "--as", account, "status")
    assert (refused.returncode, "could not list the Deployments" in refused.stderr) == (3, True)
    assert "howto/kubectl.md" in refused.stderr
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    role = yaml.safe_load(block)
    role["metadata"]["namespace"] = namespace
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "asks", "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role["metadata"]["name"]},
        "subjects": [{"kind": "ServiceAccount", "name": "asks", "namespace": namespace}],
    }
    cluster.apply(role, binding)
    assert "deployment/agents-archiver" in shell.run_in_pod("-n", namespace, "--as", account, "status")

    def may(verb: str, *what: str) -> str:
        return cluster.kubectl("auth", "can-i", verb, *what, "--as", account, "-n", namespace, check=False).strip()

    # What kubectl asks for when it runs a program in a Deployment's Pod.
    assert [may("get", "deployments.apps"), may("list", "pods"), may("create", "pods", "--subresource=exec")] == ["yes"] * 3
    assert [may("get", "secrets"), may("get", "configmaps"), may("delete", "pods")] == ["no"] * 3


def test_what_would_harm_the_capture_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is asked: each command is either run or refused, and the page says which."""
    monkeypatch.setenv("PATH", "")

    def refused(*words: str) -> bool:
        """Else it gets as far as to look for kubectl."""
        error = CliRunner().invoke(kubectl_plugin.plugin, words).exception
        assert isinstance(error, Refused | Unavailable), error
        return isinstance(error, Refused)

    for name in COMMANDS:
        assert refused(name) is (name not in kubectl_plugin.ALLOWED or name == "restore"), name
    for asking in (("--at", "latest", "--dry-run"), ("--dry-run", "--at", "latest"), ("--at", "latest", "-h"), ("--help",)):
        assert not refused("restore", *asking), asking
    for restoring in (
        ("--at", "latest", "--to", "postgresql:///x", "--pg-bin", "--dry-run"),
        ("--at", "--dry-run"),
        ("--at", "latest", "--source", "-h"),
        ("--at=latest", "--source=--dry-run"),
        ("--at", "latest", "--", "--dry-run"),
        ("-c", "--help", "--at", "latest"),
        ("-l--dry-run", "--at", "latest"),
    ):
        assert refused("restore", *restoring), restoring
    with pytest.raises(Invalid, match="no command 'statsu'") as misspelt:
        CliRunner().invoke(kubectl_plugin.plugin, ["statsu"], catch_exceptions=False)
    assert "did you mean status?" in misspelt.value.hint
    listed = PAGE.split("## Which commands")[1].split("\n\n")[1]
    assert set(re.findall(r"`(\w+)`", listed)) == set(kubectl_plugin.ALLOWED)
    assert "kubectl archiver -n agents log" in CliRunner().invoke(kubectl_plugin.plugin, []).output


def test_pip_makes_the_plugin() -> None:
    """By the name under which kubectl looks for it."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["kubectl-archiver"] == f"{kubectl_plugin.__name__}:{kubectl_plugin.main.__name__}"
