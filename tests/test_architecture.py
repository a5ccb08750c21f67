"""Rules about the code itself that no linter knows."""

from __future__ import annotations

import ast
import functools
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

from tests.fuzz.decoders import DECODERS, SEQUENCES

ROOT = Path(__file__).parent.parent
PRODUCT = sorted((ROOT / "archiver").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
DRIVERS = {"psycopg": "postgres", "kubernetes_asyncio": "kubernetes", "aiobotocore": "s3", "botocore": "s3"}


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(path: Path) -> set[str]:
    """Names of the modules that a file imports anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def test_layers_are_kept() -> None:
    """Every contract of import-linter in pyproject.toml holds."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


UPWARD = {
    "stages import downwards only": ("store/keys.py", "archiver.journal.keys"),
    "rooms of PostgreSQL capture import downwards only": (
        "capture/postgres/session/slot.py",
        "archiver.capture.postgres.watch.stale_tables",
    ),
    "rooms of PostgreSQL replay import downwards only": ("replay/postgres/decode/commits.py", "archiver.replay.postgres.plan.plan"),
    "the journal knows no product": ("journal/keys.py", "archiver.postgres.lsn"),
    "capture and replay of one product do not know the other": ("capture/postgres/config.py", "archiver.capture.kubernetes.config"),
    "pure code does no I/O, reads no clock and logs nothing": ("journal/chain.py", "time"),
    "product drivers live in files named for the product": ("journal/writer.py", "psycopg"),
}
"""Contract -> a file, and what it must not import."""


def test_an_upward_import_breaks_its_contract(tmp_path: Path) -> None:
    """In a copy of the tree each contract meets one import that it forbids, and one room that has no place: all of them are reported."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert {each["name"] for each in contracts} == set(UPWARD)
    shutil.copytree(ROOT / "archiver", tmp_path / "archiver", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for file, module in UPWARD.values():
        with (tmp_path / "archiver" / file).open("a") as text:
            text.write(f"\nimport {module}\n")
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "200"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    kept = [name for name in UPWARD if f"{name} BROKEN" not in done.stdout]
    assert kept == [], done.stdout
    (tmp_path / "archiver/replay/postgres/cellar").mkdir()
    (tmp_path / "archiver/replay/postgres/cellar/__init__.py").touch()
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "cellar" in done.stdout, done.stdout


def test_what_is_called_pure_is_held_to_it() -> None:
    """Every file that calls itself pure keeps the contract that forbids I/O, clocks and logs, whether the contract names it or not."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = [each for each in contracts if each["name"].startswith("pure code")]
    called = [path for path in PRODUCT if re.search(r"\bPure\b", ast.get_docstring(tree(path)) or "")]
    assert len(called) > 20
    found = [
        f"{name(path).removesuffix('.py').replace('/', '.')} -> {module.partition('.')[0]}"
        for path in called
        for module in imported(path)
        if module.partition(".")[0] in contract["forbidden_modules"]
    ]
    assert set(found) <= set(contract["ignore_imports"])


def test_no_module_imports_itself_through_others() -> None:
    """There is no import cycle, not even one hidden in a function; imports for types alone do not count.

    The group of commands is the one exception: it loads the commands when it runs, and they take their context from it.
    """
    graph = grimp.build_graph("archiver", exclude_type_checking_imports=True, cache_dir=None)
    for command in graph.find_modules_directly_imported_by("archiver.cli.main"):
        if command.startswith("archiver.cli."):
            graph.remove_import(importer="archiver.cli.main", imported=command)
    cycles = [
        " > ".join((module, *chain))
        for module in sorted(graph.modules)
        for used in graph.find_modules_directly_imported_by(module)
        if module < used and (chain := graph.find_shortest_chain(used, module))
    ]
    assert cycles == []


def test_drivers_stay_in_files_named_for_their_product() -> None:
    """A driver is imported only where a folder or file name says which product it speaks to."""
    wrong = [
        f"{name(path)} imports {module}"
        for path in PRODUCT
        for module in imported(path)
        if (product := DRIVERS.get(module.partition(".")[0])) and product not in name(path)
    ]
    assert wrong == []


_DECODES = re.compile(
    r"(json|msgspec|msgpack|yaml|zstd|zlib|gzip|pickle|marshal|tomllib)\.\w*(loads?|load_all|decode|Decoder|decompress|Decompressor|decompressobj)"
    r"|\w+\.unpack(_from)?|int\.from_bytes|\w*tree\.fromstring"
)


def test_every_decoder_is_fuzzed() -> None:
    """What turns bytes into values stands in a file that ``tests/fuzz`` names: a decoder elsewhere is added there, or calls one of these."""
    found = set()
    for path in PRODUCT:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and _DECODES.fullmatch(ast.unparse(node.func).removeprefix("msgspec.")):
                found.add(name(path))
            if isinstance(node, ast.ImportFrom) and node.module in ("json", "msgspec.json", "msgspec.msgpack", "yaml"):
                found.add(f"{name(path)} imports names from {node.module}")
    fuzzed = {
        f"archiver/{file}"
        for files in (*(each.files for each in DECODERS.values()), *(each[2] for each in SEQUENCES.values()))
        for file in files
    }
    assert found <= fuzzed, "not fuzzed"
    assert fuzzed <= {name(path) for path in PRODUCT}


PRINTING = {"print", "click.echo", "click.secho", "click.echo_via_pager", "pprint.pprint"}
PRINTERS = ("archiver/cli/output.py", "archiver/cli/streams.py")


def test_everything_printed_passes_through_one_file() -> None:
    """Only ``cli/output`` and ``cli/streams`` write to a terminal; ``logs`` and the progress bar show control characters themselves."""
    found = []
    for path in PRODUCT:
        if name(path) in PRINTERS:
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if (
                    called in PRINTING
                    or called.startswith(("traceback.print", "sys.stdout.write", "sys.stdout.buffer", "sys.stderr.write"))
                    or called.endswith("console().print")
                ):
                    found.append(f"{name(path)}:{node.lineno} calls {called}")
            if isinstance(node, ast.ImportFrom) and node.module == "rich.console":
                found.append(f"{name(path)}:{node.lineno} makes a console")
            if (
                isinstance(node, ast.Attribute)
                and (streams := ast.unparse(node)) in ("sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__")
                and name(path)
                not in (
                    "archiver/logs.py",
                    "archiver/cli/progress.py",
                )
            ):
                found.append(f"{name(path)}:{node.lineno} uses {streams}")
    for shows in ("archiver/logs.py", "archiver/cli/progress.py", *PRINTERS[:1]):
        assert "archiver.terminal" in imported(ROOT / shows)
    assert found == []


def test_product_does_not_import_its_tests() -> None:
    """The package works without this repository around it."""
    outside = {"tests", "benchmarks", "demo", "fidelity"}
    wrong = [name(path) for path in PRODUCT if outside & {module.partition(".")[0] for module in imported(path)}]
    assert wrong == []


def test_files_stay_short() -> None:
    """No file has more than 500 lines."""
    files = [*PRODUCT, *TESTS, *(path for folder in ("demo", "benchmarks", "fidelity") for path in (ROOT / folder).rglob("*.py"))]
    assert [name(path) for path in files if len(path.read_text().splitlines()) > 500] == []


def test_unit_tests_mirror_the_tree() -> None:
    """Each folder of unit tests is called like the folder that it tests."""
    homes = (ROOT / "archiver", ROOT, ROOT / "tests")
    folders = sorted({path.parent.relative_to(ROOT / "tests/unit") for path in TESTS if (ROOT / "tests/unit") in path.parents})
    assert len(folders) > 20
    assert [str(folder) for folder in folders if not any((home / folder).is_dir() for home in homes)] == []


def test_modules_are_named_by_their_job() -> None:
    """There is no drawer for what belongs nowhere."""
    drawers = {"utils", "util", "helpers", "common", "misc", "base"}
    assert [name(path) for path in [*PRODUCT, *TESTS] if path.stem in drawers] == []


def test_floor_of_coverage_only_rises() -> None:
    """What tests must run of the code is never less than the history of pyproject.toml has asked for."""
    floor = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["coverage"]["report"]["fail_under"]
    assert floor > 0
    if (ROOT / ".git").exists():
        command = ["git", "log", "--format=", "--patch", "-G^fail_under", "--", "pyproject.toml"]
        history = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert floor >= max(map(float, re.findall(r"^\+fail_under = ([\d.]+)", history, re.MULTILINE)), default=0)


def test_public_things_have_contracts() -> None:
    """Every public module-level class and function of the product has a docstring."""
    wrong = [
        f"{name(path)}: {node.name}"
        for path in PRODUCT
        for node in tree(path).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert wrong == []


def test_tests_say_what_must_hold() -> None:
    """Every test has a docstring."""
    wrong = [
        f"{name(path)}: {node.name}"
        for path in TESTS
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert wrong == []


@pytest.mark.parametrize("word", ["skip", "skipif", "importorskip", "xfail"])
def test_no_test_is_skipped(word: str) -> None:
    """A server or tool that is missing fails the run; nothing is left out in silence."""
    wrong = [
        f"{name(path)}:{node.lineno}"
        for path in TESTS
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute)
        and node.attr == word
        and isinstance(node.value, ast.Name | ast.Attribute)
        and ast.unparse(node.value) in ("pytest", "pytest.mark", "unittest")
    ]
    assert wrong == []
