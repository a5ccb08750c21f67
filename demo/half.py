"""What the story needs of one kind of state: a database, or a set of custom resources."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Fact:
    """Something about the state that can be compared as text, such as the md5 of a table's rows in order."""

    value: str
    note: str = ""
    """For the reader: "5 012 rows"."""


Facts = dict[str, Fact]


@dataclass(frozen=True)
class Question:
    """One command, which the archive alone answers, and what it is for."""

    what: str
    words: list[str]
    differs: bool = False
    """Whether the good exit code is 1: ``diff`` found a difference."""


@dataclass
class Disaster:
    """What was done, in words, and the commands themselves."""

    summary: str
    commands: list[str] = field(default_factory=list)


class Half(Protocol):
    """One kind of state and its workload. Everything blocks; ``close`` may come at any time and ends what was started."""

    name: str
    """Of the source in the settings."""
    title: str

    @property
    def changes(self) -> int:
        """Changes made by the workload so far."""
        ...

    def prepare(self) -> str:
        """Start the source and fill it; says what is in it."""
        ...

    def settings(self) -> dict[str, Any]:
        """This source in the archiver's settings."""
        ...

    def captured(self, status: dict[str, Any]) -> bool:
        """Whether ``archiver status --json`` says that this source has its baseline."""
        ...

    def start(self) -> None:
        """Let the workload run until ``hold``."""
        ...

    def evolve(self) -> str:
        """A change of schema in the middle of the workload; says which."""
        ...

    def hold(self) -> None:
        """Return once the workload stands still; ``start`` lets it go on."""
        ...

    def facts(self) -> Facts:
        """Everything that must come back, as it is at the source now."""
        ...

    def durable(self, status: dict[str, Any]) -> bool:
        """Whether ``archiver status --json`` says that everything done to the source so far is in the journal."""
        ...

    def ruin(self) -> Disaster:
        """The disaster."""
        ...

    def questions(self, point: str, folder: Path) -> list[Question]:
        """What somebody asks after the disaster: what happened since ``point``, what became of one thing, and that one thing back."""
        ...

    def target(self) -> str:
        """Start a fresh, empty place to restore into; its name for ``--to``."""
        ...

    def restored(self) -> Facts:
        """The same facts at the restored place."""
        ...

    def accepts(self, name: str, noted: Fact, restored: Fact) -> bool:
        """Whether a fact that is not equal is still what is promised; the proof shows it as such."""
        ...

    def close(self) -> None:
        """End every process and remove every file."""
        ...
