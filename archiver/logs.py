"""Structured logging on standard error: one line an event, identifiers as event names, data in keys. Never row data or secrets.

An error that nobody foresaw is told by its type and where it was raised: what it says may quote a row or a connection string.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Mapping

from archiver.errors import ArchiverError
from archiver.terminal import colourless, visible, visible_json, visible_lines

_RICH = "rich"
if _RICH not in sys.modules and "structlog" not in sys.modules:
    # structlog loads it for traces as we never show them: an eighth of the time that a short command takes.
    sys.modules[_RICH] = None  # type: ignore[assignment]
    try:
        import structlog
    finally:
        del sys.modules[_RICH]
else:
    import structlog

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(level: str, form: str) -> None:
    """Send structlog and standard logging to stderr at ``level``; ``form`` is console, json, or auto (console on a terminal)."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _traces,
    ]
    renderer: structlog.typing.Processor = _console if console else _json
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    # The drivers log through the standard library: only what an operator must act on.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer], foreign_pre_chain=shared
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def traced(error: BaseException | None) -> str:
    """An error and what caused it, the first cause first: where each was raised, its type, and no value that it may quote."""
    if error is None:
        return ""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    text = f"{traced(before)}\nwhich led to:\n\n" if before is not None else ""
    lines = "".join(traceback.format_tb(error.__traceback__))
    said = f": {visible(error.message)}" if isinstance(error, ArchiverError) else ""
    text += f"Traceback (most recent call last):\n{lines}{type(error).__module__}.{type(error).__qualname__}{said}\n"
    if isinstance(error, BaseExceptionGroup):
        text += "".join(f"\nin this group:\n\n{traced(inner)}" for inner in error.exceptions)
    return text


def _traces(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """``exc_info``, however it is given, as the text of ``traced``."""
    given = event.pop("exc_info", None)
    if given is True:
        given = sys.exc_info()[1]
    elif isinstance(given, tuple):
        given = given[1]
    if isinstance(given, BaseException):
        event["exception"] = traced(given)
        if "_record" in event:
            # What asyncio says below its first line has the error's own words.
            event["event"] = str(event["event"]).partition("\n")[0]
    return event


_PLAIN_JSON = structlog.processors.JSONRenderer()
_PEOPLE = structlog.dev.ConsoleRenderer(colors=not colourless(os.environ), exception_formatter=structlog.dev.plain_traceback)


def _json(logger: object, method: str, event: structlog.typing.EventDict) -> str:
    text = _PLAIN_JSON(logger, method, event)
    return visible_json(text if isinstance(text, str) else text.decode())


def _console(logger: object, method: str, event: structlog.typing.EventDict) -> str:
    """Colours are the renderer's own; nothing else of the event reaches the terminal unseen."""
    shown = {key: _shown(value) for key, value in event.items()}
    if "exception" in event:
        shown["exception"] = visible_lines(str(event["exception"]))
    text: str = _PEOPLE(logger, method, shown)
    return text


def _shown(value: object) -> object:
    if isinstance(value, bool | int | float) or value is None:
        return value
    if isinstance(value, Mapping):
        return {visible(str(key)): _shown(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_shown(inner) for inner in value]
    return visible(str(value))
