"""A thread that does one thing again and again, and stands still when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self


class Worker(threading.Thread):
    """Calls ``step`` until the end of the ``with`` block; ``hold`` and ``go`` in between. An error of ``step`` is raised by whichever is next."""

    def __init__(self, step: Callable[[], None], pause: Callable[[], float]) -> None:
        super().__init__(daemon=True)
        self._step, self._pause = step, pause
        self._going, self._idle, self._end = threading.Event(), threading.Event(), threading.Event()
        self._error: BaseException | None = None
        self.steps = 0

    def __enter__(self) -> Self:
        self._going.set()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._going.set()
        self.join(60)

    def hold(self) -> None:
        """Return once no step is under way; none begins until ``go``."""
        self._going.clear()
        assert self._idle.wait(60), "the load does not stand still"
        self._check()

    def go(self) -> None:
        """Go on."""
        self._check()
        self._idle.clear()
        self._going.set()

    def run(self) -> None:
        """The thread."""
        try:
            while not self._end.is_set():
                if not self._going.is_set():
                    self._idle.set()
                    self._going.wait()
                    continue
                self._step()
                self.steps += 1
                self._end.wait(self._pause())
        except BaseException as error:
            self._error = error
        self._idle.set()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
