"""What flows through the stages of a table's history: rows of COPY text; and one output's way through one of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class CopyText:
    """Rows of COPY text with these columns."""

    attnums: tuple[int, ...]
    text: U8


class Pass(Protocol):
    """One output's way through a stage. Not to be used by two threads at once."""

    contradictions: int
    """Changes that did not find their row, or found one where none should be; final after ``rest``."""

    def part(self, rows: CopyText) -> Iterator[CopyText]:
        """What is left of rows from before the stage, as far as it is known already."""
        ...

    def rest(self) -> Iterator[CopyText]:
        """What is left of them else, and rows that came in the stage; after all parts."""
        ...
