"""The commands that bring a row, a table or an object back as it was after an entry, ready to be pasted into a shell. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import msgspec

from archiver.errors import Invalid
from archiver.terminal import HIDDEN
from archiver.timeline.questions import SubjectQuestion

_LIVE = '"$LIVE"'


class RestoreCommand(msgspec.Struct, frozen=True):
    """One step, for people."""

    says: str
    command: str


def word(text: str) -> str:
    """``text`` as one word of a shell. What would not be seen, or be taken for a key, stands as an escape that bash, ksh and zsh know."""
    if not HIDDEN.search(text):
        return shlex.quote(text)
    return "$'" + "".join(_escaped(sign) for sign in text) + "'"


def _escaped(sign: str) -> str:
    if sign == "\\":
        return r"\\"
    # History expansion of an interactive bash sees `!` here, and takes a quote for the end of what is quoted.
    if sign not in "!'" and not HIDDEN.match(sign):
        return sign
    return "".join(f"\\{byte:03o}" for byte in sign.encode("utf-8", "surrogateescape"))


def restore_commands(begin: Sequence[str], asked: SubjectQuestion) -> list[RestoreCommand]:
    """``begin``: words before ``restore``. ``Invalid`` without an entry."""
    if asked.at < 1:
        raise Invalid("at: a restore needs an entry", hint="entries are counted from 1")
    common = [*begin, "restore", "--at", str(asked.at), "--source", asked.source]
    if asked.kind:
        return _of_object(common, asked)
    words = [*common, "--table", asked.table]
    if asked.key and None not in asked.key.values():
        for column, value in asked.key.items():
            words += ["--rows", f"{column}={value}"]
        script = f"{_line([*words, '--merge-script', 'merge.sql'])} --to {_LIVE}"
        return [
            RestoreCommand("See what would differ. LIVE is the connection string of the live database.", f"{script} --dry-run"),
            RestoreCommand("Write the SQL that makes the live row what it was. Nothing is changed yet: read the file.", script),
            RestoreCommand("Then run it.", f"psql -X -v ON_ERROR_STOP=1 -f merge.sql {_LIVE}"),
        ]
    beside = f"{_line([*words, '--into-schema', 'restored'])} --to {_LIVE} --into-source"
    return [
        RestoreCommand("See the plan. LIVE is the connection string of the database.", f"{beside} --dry-run"),
        RestoreCommand("Bring the table back beside the live one, into the new schema restored.", beside),
    ]


def _of_object(common: list[str], asked: SubjectQuestion) -> list[RestoreCommand]:
    kind = asked.kind.removesuffix(".")
    if asked.name:
        words = [*common, "--object", "/".join(part for part in (kind, asked.namespace, asked.name) if part)]
    else:
        words = [*common, "--kind", kind, *(["--namespace", asked.namespace] if asked.namespace else [])]
    there = f'{_line(words)} --to "kubeconfig:$LIVE" --into-source'
    return [
        RestoreCommand(
            "See the plan: what would be created, and what lives there. LIVE is the path of a kubeconfig, with #CONTEXT if needed.",
            f"{there} --dry-run",
        ),
        RestoreCommand("Bring it back if it is gone; what is there stays as it is.", there),
        RestoreCommand("Or, if it is there and should become what it was:", f"{there} --mode exact"),
    ]


def _line(words: Sequence[str]) -> str:
    return " ".join(map(word, words))
