"""One version names the package, the image and the chart."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import yaml

from archiver import __version__

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "charts" / "archiver"


def test_chart_and_image_carry_the_packages_version() -> None:
    """The chart's version, its appVersion and so the image tag that it asks for are the package's version."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
    assert values["image"]["tag"] == "", "an empty tag means appVersion"


def test_package_takes_its_version_from_the_code() -> None:
    """The version is written once: pyproject.toml has none of its own."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in pyproject["project"]
    assert pyproject["tool"]["hatch"]["version"]["path"] == "archiver/__init__.py"


def test_command_is_called_archiver() -> None:
    """The distribution's name is another than the command's and the import's, which users type. kubectl finds its plugin by name, too."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert pyproject["project"]["scripts"] == {
        "archiver": "archiver.__main__:main",
        "kubectl-archiver": "archiver.cli.kubectl_plugin:main",
    }
    assert "archiver" in {command.name for command in importlib.metadata.entry_points(group="console_scripts")}


def test_changelog_tells_each_version_once() -> None:
    """A section stands in CHANGELOG.md once its version is released; until then its lines are in changelog.d alone."""
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    released = [re.fullmatch(r"(\d+\.\d+\.\d+) \(\d{4}-\d{2}-\d{2}\)", heading) for heading in headings]
    assert all(released), headings
    versions = [match[1] for match in released if match]
    assert len(versions) == len(set(versions))
