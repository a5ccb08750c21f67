"""The restore of one source, as every product gives it: planned, judged, carried out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from archiver.errors import ArchiverError, Refused
from archiver.postgres.captured_systems import CapturedDatabase
from archiver.replay.excerpt import Excerpt
from archiver.replay.fitting import Place
from archiver.replay.kubernetes.plan_file import PlanFile
from archiver.replay.kubernetes.selection import RestoreScope
from archiver.replay.targets import Target

Progress = Callable[[str, int, int], None]
"""Step, done, total (0: not known)."""


SHOWN_GAPS = 3


def require_whole(gaps: Sequence[str], *, where: str, allowed: bool, hint: str) -> None:
    """``Refused`` when something of the history in use is not known, unless gaps are ``allowed``. The only place that judges gaps."""
    if gaps and not allowed:
        more = "; …" if len(gaps) > SHOWN_GAPS else ""
        raise Refused(f"{where} has {len(gaps)} gap(s): {'; '.join(gaps[:SHOWN_GAPS])}{more}", hint=hint)


class Options(msgspec.Struct, frozen=True):
    """What the user allowed; see ``archiver restore --help``."""

    overwrite: bool = False
    allow_gaps: bool = False
    no_owner: bool = False
    into_source: bool = False
    scope: RestoreScope = RestoreScope()
    """Of a cluster only this."""
    pg_bin: str = ""
    strict: bool = False
    """A database comes back whole or not at all; a cluster must hold none of the objects."""
    anew: bool = False
    """A cluster must hold none of the objects: those that it has already would stay, and prove nothing of the restore."""
    left_out: Path | None = None
    """Folder for a file of what a database did not take; None for that of temporary files."""
    jobs: int = 1
    """Connections that load a database, which must be empty for more than one: then each table is a transaction of its own."""
    leases: tuple[str, ...] = ()
    """``namespace/name`` of Leases in the target cluster, held while everything is restored, so that their controllers pause."""
    mode: Literal["create-missing", "merge", "exact"] = "create-missing"
    """What becomes of objects that a target cluster holds already. ``overwrite`` means ``exact``."""
    delete: int | None = None
    """With mode ``exact``, what lives in the scope and was not there at the point is deleted, so many objects at most."""
    delete_managed: bool = False
    """Also what Argo CD and Helm manage."""
    allow_controllers: bool = False
    """Objects with a status may be restored although controllers live in the target cluster."""
    ask_target: bool = False
    """Have a target cluster say of each object whether it would take it."""
    configured: frozenset[CapturedDatabase] = frozenset()
    """Databases that the settings name: no more a target than those that the archive names."""
    said: Mapping[str, Place] = {}
    """Options that were written down and are not about every restore, and what each is about."""
    planned: PlanFile | None = None
    """Of a cluster exactly this is carried out, or nothing."""
    before: Callable[[PlanFile, str], Awaitable[None]] | None = None
    """Called right before anything is written into a cluster that is captured, with what is, and why no undo is possible, or nothing."""
    excerpt: Excerpt | None = None
    """Of a database only this, beside what lives."""


class Report(Protocol):
    """What a restore of one source did. Its fields are the product's own."""

    @property
    def problems(self) -> list[str]:
        """What was not taken by the target, or reads back otherwise than captured."""


class Restoration(Protocol):
    """A plan for one source and its target. Planning changes nothing; ``close`` it in any case."""

    @property
    def source(self) -> str:
        """Its name in the archive."""

    @property
    def target(self) -> Target | None:
        """``None``: only the plan is wanted."""

    @property
    def moment(self) -> int:
        """Time of the last entry in use: of the commit, or when the object was received."""

    @property
    def entry(self) -> int:
        """Number of the last entry in use; 0 when the state is a checkpoint as it stands."""

    @property
    def refusal(self) -> ArchiverError | None:
        """Why it must not be carried out, gaps aside."""

    @property
    def gaps(self) -> list[str]:
        """What is not known of the history in use, for people: it is carried out only if gaps are allowed."""

    @property
    def doubts(self) -> list[str]:
        """What is not certain of the state at the point, for people: the gaps, and what should be known besides. They belong to the
        answer, be it a plan, a restored target or a drill.
        """

    def shown(self) -> dict[str, Any]:
        """For ``--json``: the plan, what is in the way, and the refusal if the target itself is the reason."""

    def pause(self) -> AbstractAsyncContextManager[None] | None:
        """Holds the options' leases in the target; ``None`` for a target that has none."""

    async def carry_out(self, progress: Progress) -> Report:
        """Do what the plan says. The target is set, and the caller has looked at ``refusal`` and ``gaps``."""

    async def close(self) -> None:
        """Close what planning opened."""
