"""A restore for practice: proves that the archive can be restored, and how long that takes."""

from archiver.drill.run import Proof, Scratch, run_drill

__all__ = ["Proof", "Scratch", "run_drill"]
