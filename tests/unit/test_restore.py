"""One restore of several sources: what the error of one says once another one is restored."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest

from archiver.errors import ArchiverError, Invalid, Partial, Refused, Unavailable
from archiver.replay.points import Point
from archiver.replay.restoration import Options, Progress
from archiver.replay.targets import Target
from archiver.restore import Plans, carry_out


@dataclass
class _Report:
    problems: list[str] = field(default_factory=list)


@dataclass
class _Source:
    """Restores at once, or fails at once."""

    source: str
    fails: ArchiverError | None = None
    moment: int = 1
    entry: int = 1
    refusal: ArchiverError | None = None
    gaps: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    @property
    def target(self) -> Target:
        return Target(self.source, "cluster", f"kubeconfig:{self.source}")

    def shown(self) -> dict[str, Any]:
        return {}

    def pause(self) -> None:
        return None

    async def carry_out(self, progress: Progress) -> _Report:
        if self.fails is not None:
            raise self.fails
        return _Report()

    async def close(self) -> None:
        return None


def _nothing(step: str, done: int, total: int) -> None:
    """Nobody looks."""


async def _carry_out(*sources: _Source) -> None:
    await carry_out(Plans("latest", Point("latest", "latest"), list(sources)), Options(), lambda _: nullcontext(_nothing))


@pytest.mark.parametrize("kind", [Refused, Invalid])
async def test_what_is_refused_after_another_source_is_restored_is_partial(kind: type[ArchiverError]) -> None:
    """Those two mean that nothing was touched: they say so only while it is true, and the other source is named."""
    error = kind("b cannot be", hint="do this")
    with pytest.raises(kind) as first:
        await _carry_out(_Source("b", error), _Source("a"))
    assert first.value is error
    with pytest.raises(Partial, match=r"^a is restored \(kubeconfig:a\), but then b cannot be\n") as second:
        await _carry_out(_Source("a"), _Source("b", error))
    assert second.value.hint == "do this; then restore alone what is missing, with --source"


async def test_what_says_nothing_of_the_target_stays_what_it_is() -> None:
    """A target that does not answer, for example."""
    error = Unavailable("b is away")
    with pytest.raises(Unavailable) as raised:
        await _carry_out(_Source("a"), _Source("b", error))
    assert raised.value is error
