"""``python -m fidelity.kubernetes --folder F`` (``make fidelity-kubernetes FOLDER=F``): the same for custom resources and other objects.

Subfolders of F, in the order of their names, are states that the cluster goes through, as the commits of a repository are: what a later
one has not is deleted. Without subfolders the objects of F are applied step by step. Exit code 1 when a point differs in what its plan or
report did not say.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from fidelity.cluster import Cluster
from fidelity.manifests import states
from fidelity.report import lines
from fidelity.trial import Trial
from tests.servers.controlplane import ControlPlane

OBJECTS = Path(__file__).parent / "objects"


def main() -> int:
    """0: every object came back, or its difference was said."""
    parser = argparse.ArgumentParser(prog="python -m fidelity.kubernetes", description=__doc__)
    parser.add_argument("--folder", type=Path, default=OBJECTS, help="definitions and objects as YAML; default: our own")
    parser.add_argument("--points", type=int, default=10)
    parser.add_argument("--errors", action="store_true", help="print what the API server refused")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ControlPlane.start() as plane:
        outcome = Trial(Cluster(plane, states(arguments.folder, arguments.points))).run(arguments.points)
    for line in lines(outcome, errors=arguments.errors):
        sys.stdout.write(line + "\n")
    return 0 if outcome.ok else 1


if __name__ == "__main__":
    sys.exit(main())
