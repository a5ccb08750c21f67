"""Loading programs in less time: what is loaded stays as long as the process, and no garbage is looked for among it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_FOR_TRACES = "rich"
"""What structlog loads for traces as we never show them, and what prints our tables: that loads it itself."""


@contextmanager
def loading() -> Iterator[None]:
    """Nothing but imports stands within. What was made before is not looked at for garbage any more either."""
    outermost, hidden = gc.isenabled(), _FOR_TRACES not in sys.modules and "structlog" not in sys.modules
    gc.disable()
    if hidden:
        sys.modules[_FOR_TRACES] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules[_FOR_TRACES]
        if outermost:
            gc.freeze()
            gc.enable()
