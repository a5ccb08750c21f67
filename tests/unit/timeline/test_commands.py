"""Commands that are printed for a shell."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from archiver.errors import Invalid
from archiver.timeline.commands import restore_commands, word
from archiver.timeline.questions import SubjectQuestion, span_question, subject_question

BEGIN = ["archiver", "-c", "/etc/my settings.yaml"]
TEXTS = [
    "plain",
    "",
    "two words",
    "'",
    "a'b\"c",
    "$HOME `id` !x",
    "\\n\n\\",
    "\x1b[2J\u202e",
    "-",
    "ä😀",
    "#x",
    "~",
    "\ufeff'\\",
    "\n!!'x!$ '",
]


def test_each_word_is_one_word_of_a_shell() -> None:
    """Whatever it has, bash hands it on as it was, and nothing of it is hidden from whoever reads the command."""
    words = [word(text) for text in TEXTS]
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {' '.join(words)}"], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
    assert done.stdout.decode().split("\0")[:-1] == TEXTS
    assert not any(sign in " ".join(words) for sign in "\n\x1b\u202e\ufeff")
    # As a bash that a user sits before has it, which would put an older command in their place.
    assert word("it's\x1b!x") == r"$'it\047s\033\041x'"


def test_commands_of_rows_tables_and_objects() -> None:
    """A row by its key as a script; what has none, with its whole table beside the live one; an object by its name, a kind by its own."""
    row = restore_commands(BEGIN, SubjectQuestion("db", "public.t", {"a": "1", "b": "x y"}, at=7))
    begun = "archiver -c '/etc/my settings.yaml' restore --at 7 --source db --table public.t --rows a=1 --rows 'b=x y'"
    assert row[1].command == f'{begun} --merge-script merge.sql --to "$LIVE"'
    assert row[2].command == 'psql -X -v ON_ERROR_STOP=1 -f merge.sql "$LIVE"'
    keys: list[dict[str, str | None]] = [{}, {"a": None}]
    for key in keys:
        (plan, beside) = restore_commands(BEGIN, SubjectQuestion("db", "public.t", key, at=7))
        assert shlex.split(beside.command)[-5:] == ["--into-schema", "restored", "--to", "$LIVE", "--into-source"]
        assert plan.command == f"{beside.command} --dry-run"
    pod = restore_commands(["archiver"], SubjectQuestion("kube", kind="pods.", namespace="a", name="b", at=7))
    assert pod[1].command == 'archiver restore --at 7 --source kube --object pods/a/b --to "kubeconfig:$LIVE" --into-source'
    node = restore_commands(["archiver"], SubjectQuestion("kube", kind="nodes.", name="n", at=7))
    assert "--object nodes/n --to" in node[0].command
    kind = restore_commands(["archiver"], SubjectQuestion("kube", kind="runs.x.io", namespace="a", at=7))
    assert "--kind runs.x.io --namespace a --to" in kind[2].command
    with pytest.raises(Invalid, match="a restore needs an entry"):
        restore_commands(BEGIN, SubjectQuestion("db", "public.t"))


@pytest.mark.parametrize(
    "query",
    [{}, {"source": "db"}, {"source": "db", "table": "t", "kind": "k"}, {"source": "db", "table": "t", "key": "["}, {"source": "x" * 5000, "kind": "k"}],
)  # fmt: skip
def test_questions_about_nothing(query: dict[str, str]) -> None:
    """Each is invalid, and says why."""
    with pytest.raises(Invalid):
        subject_question(query)


def test_a_span_and_what_is_looked_for() -> None:
    """A text is looked for anywhere in a key; a pattern is one."""
    assert span_question({"since": "5", "until": "9", "find": "run-7"}).patterns == {"*run-7*"}
    assert span_question({"find": "run-?"}).patterns == {"run-?"}
    assert span_question({}).patterns == frozenset()
    for wrong in ({"since": "-1"}, {"until": "1e3"}, {"since": "9", "until": "9"}, {"bars": "0"}, {"bars": "501"}, {"since": "٣"}):
        with pytest.raises(Invalid):
            span_question(wrong)
    assert span_question({"find": "x" * 300}).find == "x" * 300
    with pytest.raises(Invalid, match="find: it is too long"):
        span_question({"find": "x" * 301})
