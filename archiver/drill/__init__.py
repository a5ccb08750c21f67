"""A restore for practice: proves that the archive can be restored, and how long that takes."""

from archiver.drill.run import Scratch, run_drill

__all__ = ["Scratch", "run_drill"]
