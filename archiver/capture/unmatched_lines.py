"""Lines of a source's settings that select nothing now: they may be misspelt, or what they name is still to come, or gone."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

_log = structlog.get_logger()


class UnmatchedLines:
    """Those of one source, as they were found last. Each change is logged once."""

    def __init__(self, source: str) -> None:
        self.lines: list[str] = []
        self._source = source

    def found(self, lines: Iterable[str]) -> None:
        """``lines``: all that select nothing at this moment, each with the setting's name."""
        before, self.lines = self.lines, list(dict.fromkeys(lines))
        for line in self.lines:
            if line not in before:
                _log.warning("selects_nothing", source=self._source, selector=line, hint="`archiver check` says more")
        for line in before:
            if line not in self.lines:
                _log.info("selects_something", source=self._source, selector=line)
