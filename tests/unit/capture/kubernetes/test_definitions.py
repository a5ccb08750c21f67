"""Definitions beside the resources that they define."""

from __future__ import annotations

import pytest

from archiver.capture.kubernetes.definitions import Definitions
from archiver.capture.kubernetes.discovery import DEFINITIONS, Selector
from archiver.kubernetes.json_fields import Meta
from archiver.kubernetes.records import Resource

THINGS = Resource("g.io", "v1", "things", "Thing", namespaced=True)


@pytest.mark.parametrize(("selector", "others"), [("*.g.io", False), ("*.*", True)])
def test_definitions_of_selected_resources_are_captured(selector: str, others: bool) -> None:
    """All of them only where definitions are selected themselves."""
    keep = Definitions([Selector.parse(selector)]).interest(DEFINITIONS).keep
    assert [keep is None or keep(name) for name in ("things.g.io", "others.h.io")] == [True, others]


def test_a_definition_that_is_seen_hurries_discovery_and_gives_its_generation() -> None:
    """To the stream of what it defines; other objects are nobody's business here."""
    definitions = Definitions([Selector.parse("*.g.io")])
    things = definitions.interest(THINGS)
    assert (things.keep, things.noticed, things.generation()) == (None, None, 0)
    noticed = definitions.interest(DEFINITIONS).noticed
    assert noticed is not None
    noticed(Meta(name="things.g.io", generation=3))
    assert definitions.changed.is_set()
    assert things.generation() == 3
