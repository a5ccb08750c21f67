"""Loading programs in less time: what is loaded stays as long as the process, and no garbage is looked for among it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Nothing but imports stands within. What was made before is not looked at for garbage any more either."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
