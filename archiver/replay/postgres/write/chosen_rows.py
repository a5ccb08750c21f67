"""COPY text of some rows only: those whose columns have one of the values that were asked for."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence

from archiver.replay.postgres.columnar.copy_text import escape


class ChosenRows:
    """Says which lines are meant. Values are compared as the text that PostgreSQL prints."""

    def __init__(self, wanted: Mapping[str, Sequence[str]], columns: Sequence[str]) -> None:
        """``wanted``: by column its values; empty for all rows. ``columns``: of the text, in order."""
        self._wanted = [
            (columns.index(column), frozenset(bytes(escape(value.encode("utf-8", "surrogateescape"))) for value in values))
            for column, values in wanted.items()
        ]
        self._rarest = min((values for _, values in self._wanted), key=len, default=frozenset[bytes]())

    def has(self, values: Sequence[bytes]) -> bool:
        """Whether a row is meant, by its values as they stand in the text."""
        return all(values[place] in wanted for place, wanted in self._wanted)

    async def of(self, pieces: AsyncIterable[memoryview]) -> AsyncIterator[bytes | memoryview]:
        """The lines that are meant, in pieces; all are read to the end."""
        async for piece in pieces:
            if not self._wanted:
                yield piece
                continue
            text = bytes(piece)
            if not any(value in text for value in self._rarest):
                continue
            lines = [line for line in text.split(b"\n")[:-1] if self.has(line.split(b"\t"))]
            if lines:
                yield b"".join(line + b"\n" for line in lines)
