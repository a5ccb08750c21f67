"""Options that contradict each other, or mean nothing together, end a command before it opens anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from archiver.cli.main import Context, cli
from archiver.errors import Invalid

_RESTORE = ("restore", "--at", "latest")
_SCHEMA = (*_RESTORE, "--table", "note", "--into-schema", "s")
_SCRIPT = (*_RESTORE, "--table", "note", "--merge-script", "m.sql")
_OBJECT = ("--source", "k", "--object", "agents/a", "--key", "id=1")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ((*_RESTORE, "--overwrite", "--mode", "merge"), "--mode"),
        ((*_SCHEMA, "--left-out", "."), "--left-out"),
        ((*_SCHEMA, "--mode", "merge"), "--mode"),
        ((*_SCHEMA, "--allow-controllers"), "--allow-controllers"),
        ((*_SCHEMA, "--pg-bin", "x"), "--pg-bin"),
        ((*_SCHEMA, "--kind", "x"), "--kind"),
        ((*_SCRIPT, "--into-source"), "--into-source"),
        ((*_SCHEMA, "-l", "app=web"), "--selector"),
        ((*_RESTORE, "--plan-file", "p.json"), "--dry-run"),
        (("restore", "--plan", "p.json", "--at", "latest"), "--at does not go with --plan"),
        (("restore", "--plan", "p.json", "--mode", "exact"), "--mode does not go with --plan"),
        (("restore", "--plan", "p.json"), "p.json cannot be read"),
        (("show", *_OBJECT), "--key"),
        (("diff", *_OBJECT, "--from", "1"), "--key"),
        (("log", *_OBJECT), "--key"),
        (("log", *_OBJECT[:-2], "--manager", "x"), "--manager"),
        (("maintain", "--history", "--behind", "5"), "--behind"),
        (("maintain", "--prove", "--behind", "5"), "--behind"),
        (("maintain", "--prove", "--history"), "--history"),
        (("maintain", "--engine", "spark"), "--engine"),
        (("maintain", "--one-in", "3"), "--one-in"),
        (("maintain", "--prove", "--master", "local[2]"), "--master"),
        (("verify", "--level", "names", "--no-parts"), "--no-parts"),
        (("verify", "--level", "names", "--known-head", f"{'0' * 64}@0"), "--known-head"),
    ],
)
def test_options_that_do_not_go_together(words: tuple[str, ...], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would otherwise be passed over without a word."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Invalid) as raised:
        cli.main(["--archive", f"file://{tmp_path}/journal", *words], standalone_mode=False, obj=Context())
    assert named in f"{raised.value.message} {raised.value.hint}"
    assert list(tmp_path.iterdir()) == []


def test_a_plan_does_not_choose_the_target(tmp_path: Path) -> None:
    """A kubeconfig may run programs: the one that is used was named by whoever runs the command."""
    plan = tmp_path / "plan.json"
    plan.write_bytes((Path(__file__).parents[2] / "golden/cluster-plan-v1/plan.json").read_bytes())
    with pytest.raises(Invalid, match="--to is missing") as raised:
        cli.main(["--archive", f"file://{tmp_path}/journal", "restore", "--plan", str(plan)], standalone_mode=False, obj=Context())
    assert "made for kubeconfig:k8s#live" in raised.value.hint
