"""CustomResourceDefinitions, as far as the capture of other resources depends on them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from archiver.capture.kubernetes.discovery import DEFINITIONS
from archiver.capture.kubernetes.stream_context import Interest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from archiver.capture.kubernetes.discovery import Selector
    from archiver.kubernetes.json_fields import Meta
    from archiver.kubernetes.records import Resource


class Definitions:
    """Which definitions are captured beside the resources that are selected, and the generation that each was seen with."""

    def __init__(self, selectors: Sequence[Selector]) -> None:
        self._selectors = selectors
        self._generations: dict[str, int] = {}
        self.changed = asyncio.Event()
        """A definition was seen: what it defines is served a moment later. For the listener to clear."""

    def interest(self, resource: Resource) -> Interest:
        """What of ``resource`` is captured: of definitions those of selected resources, unless definitions themselves are selected."""
        definitions = resource.group == DEFINITIONS.group and resource.plural == DEFINITIONS.plural
        all_of_them = self._selected(DEFINITIONS.group, DEFINITIONS.plural)
        return Interest(
            keep=self._defines_selected if definitions and not all_of_them else None,
            noticed=self._noticed if definitions else None,
            generation=lambda: self._generations.get(f"{resource.plural}.{resource.group}", 0),
        )

    def _selected(self, group: str, plural: str) -> bool:
        return any(selector.matches(group, plural) for selector in self._selectors)

    def _defines_selected(self, name: str) -> bool:
        plural, _, group = name.partition(".")
        return self._selected(group, plural)

    def _noticed(self, definition: Meta) -> None:
        self._generations[definition.name] = definition.generation
        self.changed.set()
