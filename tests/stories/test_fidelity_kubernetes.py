"""Kinds and objects of every shape come back as they were; the long form is ``make fidelity-kubernetes``."""

from __future__ import annotations

from collections.abc import Callable

from fidelity.cluster import Cluster
from fidelity.kubernetes import OBJECTS
from fidelity.manifests import states
from fidelity.report import lines
from fidelity.trial import Trial
from tests.servers.controlplane import ControlPlane


def test_objects_of_every_shape_come_back(start_cluster: Callable[..., ControlPlane]) -> None:
    """Definitions that change and go, objects that are deleted and made anew: equal at each point but for what was said."""
    outcome = Trial(Cluster(start_cluster(), states(OBJECTS, 2))).run(2)
    told = "\n".join(lines(outcome, errors=True))
    assert outcome.ok, told
    assert len(outcome.points) == 2
    assert [text for text in outcome.errors if "too large" not in text] == [], told
