"""Every alert of the chart, by promtool: it fires when it should, and is silent otherwise, also beside another release that is well."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from archiver.service import metrics
from tests.integration.alerts.cases import CASES, SLOW, Case
from tests.servers import controlplane_build, promtool

CHART = Path(__file__).parents[3] / "deploy/charts/archiver"
OWN = {"namespace": "agents", "service": "agents-archiver"}
"""What an operator puts on every series of the release that the chart is rendered for."""


def as_written() -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = yaml.safe_load((CHART / "alerts/rules.yaml").read_text())
    return groups


def as_rendered() -> list[dict[str, Any]]:
    """As the chart's defaults make them beside a ServiceMonitor: each series is matched."""
    switches = ["serviceMonitor.enabled", "prometheusRule.enabled", "drill.enabled"]
    command = [*controlplane_build.program("helm"), "template", "agents", str(CHART), "--namespace", "agents"]
    command += [word for switch in switches for word in ("--set", f"{switch}=true")]
    done = subprocess.run([*command, "--show-only", "templates/alerts.yaml"], capture_output=True, text=True, check=True)
    groups: list[dict[str, Any]] = yaml.safe_load(done.stdout)["spec"]["groups"]
    return groups


def promtool_test(name: str, case: Case, rules: list[dict[str, Any]], own: dict[str, str]) -> dict[str, Any]:
    """``case`` in promtool's words. With ``own`` labels it has the series of another release too, which is well."""
    series = [(metric, {**labels, **own}, values) for metric, (labels, values) in case.series.items()]
    of_source = next((labels for metric, labels, _ in series if metric.startswith("archiver_source_")), own)
    labels = {} if case.alert.startswith("ArchiverDrill") else of_source
    if own:
        others = {"namespace": "others", "service": "others-archiver"}
        series += [("archiver_epoch", others, "1x9999"), ("archiver_drill_last_success_timestamp_seconds", others, "1e9x9999")]
    asked = []
    for time in (*case.fires, *case.silent):
        expected = []
        if summary := case.fires.get(time):
            rule = next(rule for rule in rules if rule["alert"] == case.alert and summary.startswith(beginning(rule)))
            annotations = {**rule["annotations"], "summary": summary}
            expected = [{"exp_labels": {**labels, **rule.get("labels", {})}, "exp_annotations": annotations}]
        asked.append({"eval_time": time, "alertname": case.alert, "exp_alerts": expected})
    return {
        "name": name,
        "interval": case.step,
        "input_series": [{"series": f"{metric}{{{matchers(labels)}}}", "values": values} for metric, labels, values in series],
        "alert_rule_test": asked,
    }


def beginning(rule: dict[str, Any]) -> str:
    """Of its summary, as far as it is the same for all sources."""
    return str(rule["annotations"]["summary"]).split("{{")[0]


def matchers(labels: dict[str, str]) -> str:
    return ",".join(f'{name}="{value}"' for name, value in labels.items())


@pytest.mark.parametrize(("made", "own"), [(as_written, {}), (as_rendered, OWN)], ids=["as written", "as rendered"])
def test_alerts(made: Callable[[], list[dict[str, Any]]], own: dict[str, str], tmp_path: Path) -> None:
    """Promtool takes the rules, and each fires for what it is there for, after its time, with its words; never for less."""
    groups = made()
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump({"groups": groups}))
    assert promtool.found(), "`make promtool` says why there is none"
    checked = subprocess.run([promtool.found(), "check", "rules", str(rules)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    all_rules = [rule for group in groups for rule in group["rules"]]
    files = []
    for step, every in (("35s", "1m"), ("1m", "1m"), (SLOW, "30m")):
        tests = [promtool_test(name, case, all_rules, own) for name, case in CASES.items() if case.step == step]
        files.append(tmp_path / f"{step}.yaml")
        files[-1].write_text(yaml.safe_dump({"rule_files": [rules.name], "evaluation_interval": every, "tests": tests}))
    tested = subprocess.run([promtool.found(), "test", "rules", *map(str, files)], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    """And all series that they are made of are metrics that exist, as do those that the rules read."""
    rules = [rule for group in as_written() for rule in group["rules"]]
    names = {rule["alert"] for rule in rules}
    assert {case.alert for case in CASES.values() if case.fires} == names
    assert {case.alert for case in CASES.values() if not case.fires} == names
    fired = {summary for case in CASES.values() for summary in case.fires.values()}
    assert all(any(summary.startswith(beginning(rule)) for summary in fired) for rule in rules)
    read = {metric for rule in rules for metric in re.findall(r"archiver_\w+", rule["expr"])}
    assert read <= metrics.names()
    assert {metric for case in CASES.values() for metric in case.series} == read
