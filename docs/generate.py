"""Write the reference pages that come from code: ``python -m docs.generate``. ``--check`` fails when a page differs (a test does that)."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import click
import msgspec

from archiver import errors
from archiver.cli.main import cli
from archiver.cli.settings_places import PLACES
from archiver.service import metrics
from archiver.settings import Settings, json_schema
from archiver.settings.schema import descriptions
from docs.picture import picture

DOCS = Path(__file__).parent
CHART = Path(__file__).parents[1] / "deploy/charts/archiver"
NOTE = "<!-- Written by docs/generate.py from the code: change that, then run `make docs`. -->\n\n"


def settings_page() -> str:
    """Every setting: key, environment variable, type, default, meaning."""
    lines = [
        "# Settings",
        "",
        f"One YAML file: `-c FILE`, before the command or behind it, else the first of {', '.join(f'`{place}`' for place in PLACES)}.",
        "Every key also by environment, which wins. `archiver config show` prints what is in force,",
        "`archiver config schema` the JSON schema ([settings.schema.json](settings.schema.json)).",
        "In a source's variable the name is in capitals with `_` for `-`.",
        "A *secret reference* is `env:NAME` (an environment variable) or `file:PATH` (a file's content, read again before",
        "each attempt, so that rotation needs no restart); secrets never stand in the settings themselves.",
        "",
        "| key | environment | type | default | meaning |",
        "| --- | --- | --- | --- | --- |",
    ]
    texts = descriptions()
    for path, owner, field in _leaves(Settings, ()):
        # One of a list has no variable of its own: the list's is JSON.
        of_list = any(part.endswith("[]") for part in path)
        variable = "" if of_list else "ARCHIVER_" + "__".join("NAME" if part == "<name>" else part.upper() for part in path)
        default = "required" if field.required else f"`{_default(field)}`"
        meaning = texts[owner.__name__, field.name].replace("``", "`")
        lines.append(f"| `{'.'.join(path)}` | {_code(variable)} | {_type(field.type)} | {default} | {meaning} |")
    return NOTE + "\n".join(lines) + "\n"


def errors_page() -> str:
    """Exit codes and what an error of each class means."""
    lines = [
        "# Errors and exit codes",
        "",
        "A message says what happened and where; the line `hint:` says the next step. Expected errors show no stack trace.",
        "",
        "| exit code | class | meaning |",
        "| --- | --- | --- |",
        "| 0 | | done |",
    ]
    classes = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, errors.ArchiverError)]
    for value in sorted(classes, key=lambda item: item.exit_code):
        if value is not errors.ArchiverError:
            text = " ".join((value.__doc__ or "").split())
            lines.append(f"| {value.exit_code} | `{value.__name__}` | {text} |")
    lines += [
        (
            "| 1 | | the two compared things differ (`diff`), as with diff(1); what is asked for did not exist then (`show`);"
            " the backup is not what was promised (`status --check`) |"
        ),
        "| 130 | | interrupted, or stopped at once by a second signal |",
    ]
    return NOTE + "\n".join(lines) + "\n"


def metrics_page() -> str:
    """Every metric with labels and meaning."""
    lines = [
        "# Metrics",
        "",
        "`GET /metrics` while `archiver run` serves `web.listen`.",
        "",
        "| metric | type | labels | meaning |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| `{name}` | gauge | | {text} |" for name, text in metrics.GAUGES.items()]
    lines += [f"| `{name}` | gauge | source | {text} |" for name, text in metrics.SOURCE_GAUGES.items()]
    lines += [f"| `{name}_total` | counter | source | {text} |" for name, text in metrics.COUNTERS.items()]
    lines += [f"| `{name}` | histogram | | {text} |" for name, text in metrics.HISTOGRAMS.items()]
    lines.append(f"| `{metrics.BUILD[0]}` | gauge | version, python | {metrics.BUILD[1]} |")
    lines += [f"| `{name}` | {'counter' if name.endswith('_total') else 'gauge'} | | {text} |" for name, text in metrics.PROCESS.items()]
    lines.append(f"| `{metrics.RESTARTS[0]}_total` | counter | source, cause | {metrics.RESTARTS[1]} |")
    return NOTE + "\n".join(lines) + "\n"


def cli_page() -> str:
    """``--help`` of every command."""
    parts = ["# Command line", ""]
    for name, command in _commands("archiver", cli):
        context = click.Context(command, info_name=name, terminal_width=110, **cli.context_settings)
        parts += [f"## `{name}`", "", "```", command.get_help(context), "```", ""]
    return NOTE + "\n".join(parts)


SETTING_OF = {
    "archive.url": "archive.url",
    "archive.instance": "archive.instance",
    "archive.s3.endpoint": "archive.s3.endpoint",
    "archive.s3.allowHttp": "archive.s3.allow_http",
    "archive.s3.region": "archive.s3.region",
    "archive.s3.addressing": "archive.s3.addressing",
    "archive.s3.credentialsSecret.accessKey": "archive.s3.access_key",
    "archive.s3.credentialsSecret.secretKey": "archive.s3.secret_key",
    "archive.s3.caSecret.key": "archive.s3.ca_file",
    "archive.putsPerSecond": "archive.puts_per_second",
    "archive.putBurst": "archive.put_burst",
    "archive.bufferBytes": "archive.buffer_bytes",
    "archive.segmentBytes": "archive.segment_bytes",
    "archive.heartbeatSeconds": "archive.heartbeat_seconds",
    "archive.takeoverAfterSeconds": "archive.takeover_after_seconds",
    "drill.assertions": "drills.assertions",
    "maintain.background": "maintenance.enabled",
    "maintain.historyFiles": "maintenance.history_files",
    "maintain.compaction": "maintenance.compaction",
    "maintain.restoreTimeObjective": "maintenance.restore_time_objective",
    "maintain.memoryBytes": "maintenance.memory_bytes",
    "postgres.databases": "sources.<name>.postgres",
    "kubernetes.name": "sources.<name>",
    "kubernetes.resources": "sources.<name>.kubernetes.resources",
    "kubernetes.customResourceDefinitions": "sources.<name>.kubernetes.custom_resource_definitions",
    "kubernetes.listConcurrency": "sources.<name>.kubernetes.list_concurrency",
    "kubernetes.pageSize": "sources.<name>.kubernetes.page_size",
    "kubernetes.discoverySeconds": "sources.<name>.kubernetes.discovery_seconds",
    "kubernetes.verifySeconds": "sources.<name>.kubernetes.verify_seconds",
    "controller.namespaces": "sources.<name>.kubernetes.namespaces",
    "web.port": "web.listen",
    "web.rpoSeconds": "web.rpo_seconds",
    "log.level": "log.level",
    "graceSeconds": "grace_seconds",
}
"""Chart value -> the setting it becomes; the other values shape the objects around the archiver."""


def values_page() -> str:
    """Every chart value: default, meaning, setting and environment variable."""
    lines = [
        "# Chart values",
        "",
        "Typed values become the settings file in a ConfigMap; `env.extra` with `ARCHIVER_…` overrides any setting.",
        "Wrong values are refused by `values.schema.json` and by the template `validation.yaml`.",
        "",
        "| value | default | meaning | setting | environment |",
        "| --- | --- | --- | --- | --- |",
    ]
    path: list[tuple[int, str]] = []
    comment = ""
    for line in (CHART / "values.yaml").read_text(encoding="utf-8").splitlines():
        if found := re.match(r"\s*# -- (.*)", line):
            comment = found[1]
        elif found := re.match(r"( *)([A-Za-z]\w*):(.*)", line):
            while path and path[-1][0] >= len(found[1]):
                path.pop()
            path.append((len(found[1]), found[2]))
            if comment:
                name = ".".join(part for _, part in path)
                setting = SETTING_OF.get(name, "")
                variable = "ARCHIVER_" + setting.replace("<name>", "NAME").replace(".", "__").upper() if setting else ""
                default = found[3].strip() or "(see values.yaml)"
                lines.append(f"| `{name}` | `{default}` | {comment} | {_code(setting)} | {_code(variable)} |")
            comment = ""
    return NOTE + "\n".join(lines) + "\n"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def schema_page() -> str:
    """The JSON schema of the settings file."""
    return json.dumps(json_schema(), indent=2) + "\n"


PAGES = {
    "reference/settings.schema.json": schema_page,
    "reference/chart-values.md": values_page,
    "reference/settings.md": settings_page,
    "reference/errors.md": errors_page,
    "reference/metrics.md": metrics_page,
    "reference/cli.md": cli_page,
    "explanation/architecture.svg": picture,
}


def _commands(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield from _commands(f"{name} {below}", found)


def _leaves(struct: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any, msgspec.structs.FieldInfo]]:
    for field in msgspec.structs.fields(struct):
        here = (*path, field.name)
        kinds = [part for part in (get_args(field.type) or (field.type,)) if inspect.isclass(part) and issubclass(part, msgspec.Struct)]
        if get_origin(field.type) is dict:
            yield from _leaves(get_args(field.type)[1], (*here, "<name>"))
        elif kinds and get_origin(field.type) is not list:
            yield from _leaves(kinds[0], here)
        else:
            yield here, struct, field
            if kinds:
                yield from _leaves(kinds[0], (*path, f"{field.name}[]"))


def _type(kind: Any) -> str:
    bounds = ""
    if hasattr(kind, "__metadata__"):
        meta = kind.__metadata__[0]
        bounds = "".join(f" {sign} {value}" for sign, value in ((">", meta.gt), ("≥", meta.ge), ("≤", meta.le)) if value is not None)
        kind = get_args(kind)[0]
    if get_origin(kind) is list:
        return "list of text" if get_args(kind)[0] is str else "list"
    if get_origin(kind) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(kind))
    if get_args(kind):
        return " or ".join(_TYPES[value.__name__] for value in get_args(kind) if value is not NoneType)
    return _TYPES[kind.__name__] + bounds


_TYPES = {"str": "text", "int": "integer", "float": "number", "bool": "true or false"}


def _default(field: msgspec.structs.FieldInfo) -> str:
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return re.sub(r'^"|"$', "", msgspec.json.encode(value).decode()) or "(empty)"


def main() -> int:
    """Write the pages, or compare them."""
    wrong = 0
    for name, page in PAGES.items():
        file, text = DOCS / name, page()
        if "--check" not in sys.argv:
            file.write_text(text, encoding="utf-8")
        elif not file.exists() or file.read_text(encoding="utf-8") != text:
            print(f"{file.name} is not what the code says: run `make docs`", file=sys.stderr)  # noqa: T201
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
