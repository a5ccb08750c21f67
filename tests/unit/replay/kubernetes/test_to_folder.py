"""Folders of YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.errors import Refused
from archiver.replay.kubernetes.plan import make_plan
from archiver.replay.kubernetes.to_folder import write_folder
from archiver.replay.kubernetes.yaml_text import Fast, Slow, to_yaml
from tests.unit.replay.kubernetes.objects import manifest, selection

texts = st.one_of(st.text(max_size=40), st.text("yno1e3-+.:#\n\t \"'\\~", max_size=8))
leaves = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False, allow_infinity=False), texts)
values = st.recursive(
    leaves, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)), max_leaves=20
)


@given(st.dictionaries(texts, values, max_size=5))
@settings(max_examples=150, deadline=None)
def test_a_yaml_reader_gets_back_what_was_written(document: dict[str, Any]) -> None:
    """Any JSON document survives YAML, types and all."""
    read = yaml.safe_load(to_yaml(document))
    assert read == document
    assert repr(read) == repr(document)


@given(st.dictionaries(texts, values, max_size=5))
@settings(max_examples=150, deadline=None)
def test_both_emitters_write_the_same(document: dict[str, Any]) -> None:
    """Whether libyaml is there or not, both readers get back the document from what either emitter wrote."""
    read = [yaml.load(to_yaml(document, dumper), reader) for dumper in (Fast, Slow) for reader in (yaml.CSafeLoader, yaml.SafeLoader)]
    assert {repr(each) for each in read} == {repr(document)}


@pytest.mark.parametrize(
    "sign", ["\x00", "\x07", "\x1b", "\x7f", "\x80", "\x85", "\x9f", "\xa0", "\xad", "\u2028", "\u2029", "\ufeff", "\ufffe"]
)
def test_every_sign_survives(sign: str) -> None:
    """Alone, amid, at the ends and in long lines; as value and as key; and none that moves a terminal's cursor stands bare."""
    for text in (sign, f"a{sign}b", f" {sign}\n{'w ' * 100}{sign}", f"line\n{sign}\n"):
        written = to_yaml({text: text})
        assert yaml.safe_load(written) == yaml.load(written, yaml.CSafeLoader) == {text: text}
        assert not {each for each in written if ord(each) < 0x20 or 0x7F <= ord(each) < 0xA0} - {"\n"}


def test_names_that_are_too_long_for_files_stay_apart(tmp_path: Path) -> None:
    """Names of objects may have 253 characters, files 255 with their ending."""
    long = ["a" * 253, "a" * 252 + "b"]
    plan, objects = make_plan("kube", selection(*(manifest(name) for name in long)))
    assert write_folder(plan, objects, tmp_path / "out", overwrite=False).files == 3
    found = [yaml.safe_load(file.read_text())["metadata"]["name"] for file in (tmp_path / "out/objects").rglob("*.yaml")]
    assert sorted(found) == long


STRANGE = [
    "..",
    "a/../../b",
    ".",
    "a\0b",
    "%2E",
    "\u00e4" * 200,
    "\U0001f600" * 200,
    "\U0001f600" * 200 + "b",
    "x" * 3000,
    "a\nb",
    " ",
    "-",
]
"""Roles may be named so, but for what leads elsewhere: that a damaged or forged journal says."""


def test_no_name_leads_out_of_the_folder_or_costs_the_others(tmp_path: Path) -> None:
    """Each object has a file of its own inside the folder, and a later restore knows which ones it wrote."""
    plan, objects = make_plan("kube", selection(*(manifest(name) for name in STRANGE)))
    for overwrite in (False, True):
        assert write_folder(plan, objects, tmp_path / "out", overwrite=overwrite).files == len(STRANGE) + 1
        files = [file for file in tmp_path.rglob("*") if file.is_file() and file.name != "manifest.json"]
        names = [yaml.safe_load(file.read_text())["metadata"]["name"] for file in files if file.is_relative_to(tmp_path / "out/objects")]
        assert sorted(names) == sorted(STRANGE)
        assert len(files) == len(STRANGE) + 1


def test_a_foreign_manifest_is_not_trusted(tmp_path: Path) -> None:
    """What is overwritten must be what a restore wrote."""
    (tmp_path / "manifest.json").write_text('{"objects": [1]}')
    plan, objects = make_plan("kube", selection(manifest("a")))
    with pytest.raises(Refused, match="not what a restore wrote"):
        write_folder(plan, objects, tmp_path, overwrite=True)


def test_a_folder_that_was_not_finished_says_so_and_is_cleared(tmp_path: Path) -> None:
    """Killed at the second file: INCOMPLETE instead of a manifest; --overwrite leaves nothing of it behind, and what is the user's alone."""
    plan, objects = make_plan("kube", selection(*(manifest(name) for name in "abc")))
    objects.by_key["runs.g.io", "n", "b"] |= {"spec": object()}
    with pytest.raises(yaml.YAMLError):
        write_folder(plan, objects, tmp_path, overwrite=False)
    names = {file.name for file in tmp_path.rglob("*") if file.is_file()}
    assert names == {"a.yaml", "INCOMPLETE"}
    (tmp_path / "mine").write_text("x")
    plan, objects = make_plan("kube", selection(manifest("d")))
    write_folder(plan, objects, tmp_path, overwrite=True)
    assert {file.name for file in tmp_path.rglob("*") if file.is_file()} == {"d.yaml", "n.yaml", "manifest.json", "mine"}
    write_folder(plan, objects, tmp_path, overwrite=True)
    assert {file.name for file in tmp_path.rglob("*") if file.is_file()} == {"d.yaml", "n.yaml", "manifest.json", "mine"}
